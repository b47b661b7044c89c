// Differentiable activations: see kernels/activations.hpp and kernels/glu.hpp.
#pragma once

#include "eigenformer/autograd/context.hpp"
#include "eigenformer/kernels/activations.hpp"
#include "eigenformer/kernels/glu.hpp"
#include "eigenformer/ops/matmul.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// Applies an activation to each entry of x.
template <class Scalar>
Variable<Scalar> activate(const Context<Scalar>& context, Activation activation, const Variable<Scalar>& x) {
  Variable<Scalar> y = context.new_like(x);
  activation_forward<Scalar>(activation, x.value(), y.writable(), context.threads);
  return context.record(std::move(y), {x},
                        [activation, x, threads = context.threads](const Variable<Scalar>& d_y, Tape<Scalar>& tape) {
                          tape.add_gradient(x, [&](MatrixMap<Scalar> d_x) {
                            activation_backward<Scalar>(activation, x.value(), d_y.value(), d_x, threads);
                          });
                        });
}

/// Returns tanh of each entry of x.
template <class Scalar>
Variable<Scalar> tanh(const Context<Scalar>& context, const Variable<Scalar>& x) {
  Variable<Scalar> y = context.new_like(x);
  tanh_forward<Scalar>(x.value(), y.writable(), context.threads);
  return context.record(
      std::move(y), {x}, [x, threads = context.threads](const Variable<Scalar>& d_y, Tape<Scalar>& tape) {
        tape.add_gradient(x,
                          [&](MatrixMap<Scalar> d_x) { tanh_backward<Scalar>(x.value(), d_y.value(), d_x, threads); });
      });
}

/// Returns the gated linear unit a * sigmoid(b), where a and b are the halves of x along a dimension. The result has
/// half of x's size along it. Throws if the dimension does not exist or its size is odd.
template <class Scalar>
Variable<Scalar> glu(const Context<Scalar>& context, const Variable<Scalar>& x, Index dimension = -1) {
  const detail::GluShape shape(x.sizes(), dimension);
  const Index rows = shape.rows, cols = shape.cols;
  Variable<Scalar> y = context.new_tensor(shape.result);
  glu_forward<Scalar>(ConstMatrixMap<Scalar>(x.value().data(), rows, cols),
                      MatrixMap<Scalar>(y.writable().data(), rows, cols / 2), context.threads);
  return context.record(std::move(y), {x},
                        [x, rows, cols, threads = context.threads](const Variable<Scalar>& d_y, Tape<Scalar>& tape) {
                          tape.add_gradient(x, [&](MatrixMap<Scalar> d_x) {
                            glu_backward<Scalar>(ConstMatrixMap<Scalar>(x.value().data(), rows, cols),
                                                 ConstMatrixMap<Scalar>(d_y.value().data(), rows, cols / 2),
                                                 MatrixMap<Scalar>(d_x.data(), rows, cols), threads);
                          });
                        });
}

/// Returns activation(x weight^T + bias): [tokens x outputs]. Without a tape, linear layer and activation are fused,
/// since no backward needs the activation's input.
/// x: [tokens x inputs], weight: [outputs x inputs], bias: [1 x outputs], or empty for none.
template <class Scalar>
Variable<Scalar> activated_linear(const Context<Scalar>& context, Activation activation, const Variable<Scalar>& x,
                                  const Parameter<Scalar>& weight, const Parameter<Scalar>& bias) {
  if (context.tape != nullptr) return activate(context, activation, linear(context, x, weight, bias));
  Variable<Scalar> y = context.new_rows(x, weight.value.rows());
  detail::with_weight(context, weight, [&](const auto& w) {
    linear_forward<Scalar>(x.value(), w, bias.value, y.writable(), context.products(),
                           [&](MatrixRef<Scalar> block) { activation_forward<Scalar>(activation, block, block); });
  });
  return y;
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
