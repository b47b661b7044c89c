// What backward functions of tensor operations share.
#pragma once

#include "eigenformer/autograd/context.hpp"
#include "eigenformer/tensors/reductions.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

/// Adds a gradient whose shape x was broadcast to: sums over the dimensions in which x was repeated.
template <class Scalar, TensorLike Gradient>
void add_tensor_gradient(Tape<Scalar>& tape, const Variable<Scalar>& x, const Gradient& d) {
  if (!x.requires_grad()) return;
  const Sizes shape = x.sizes(), given = d.shape();
  Sizes summed;
  for (int i = 0; i < given.rank(); ++i) {
    const int own = i - (given.rank() - shape.rank());
    if (own < 0 || (shape[own] == 1 && given[i] != 1)) summed.push_back(i);
  }
  tape.add_gradient(x, [&](MatrixMap<Scalar> d_x) {
    if (summed.rank() == 0)
      TensorView<Scalar>(d_x.data(), shape).array() = d;
    else
      d_x = ConstMatrixMap<Scalar>(sum(d, summed, {.keep_dims = true}).data(), d_x.rows(), d_x.cols());
  });
}

/// Returns the gradient of a result, of this shape, as a tensor.
template <class Scalar>
TensorView<const Scalar> gradient_view(const Variable<Scalar>& d_y, const Sizes& shape) {
  return {d_y.value().data(), shape};
}

/// Computes an expression into a new Variable.
template <class Scalar, TensorLike Expression>
Variable<Scalar> evaluated(const Context<Scalar>& context, const Expression& expression) {
  Variable<Scalar> y = context.new_tensor(Sizes(expression.shape()));
  y.writable_tensor().array() = expression;
  return y;
}

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
