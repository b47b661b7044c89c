// Differentiable matrix products: see kernels/matmul.hpp.
#pragma once

#include "eigenformer/autograd/context.hpp"
#include "eigenformer/kernels/matmul.hpp"
#include "eigenformer/ops/detail/tensor_gradients.hpp"
#include "eigenformer/tensors/matmul.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

namespace detail {

/// Returns the product of tensors when a or b is not a matrix.
template <class Scalar>
Variable<Scalar> batched_matmul(const Context<Scalar>& context, const Variable<Scalar>& a, const Variable<Scalar>& b) {
  const Tensor<Scalar> product = matmul(a.tensor(), b.tensor(), context.products());
  Variable<Scalar> y = context.new_tensor(product.shape());
  product.copy_to(y.writable_tensor());
  return context.record(
      y, {a, b},
      [a, b, shape = y.sizes(), products = context.products()](const Variable<Scalar>& d_y, Tape<Scalar>& tape) {
        // A vector becomes a matrix of one row or column; the result does not have that dimension.
        TensorView<const Scalar> d = TensorView<const Scalar>(d_y.value().data(), shape), left = a.tensor(),
                                 right = b.tensor();
        if (left.rank() == 1) {
          left = left.unsqueeze(0);
          d = d.unsqueeze(right.rank() == 1 ? -1 : -2);
        }
        if (right.rank() == 1) {
          right = right.unsqueeze(1);
          d = d.unsqueeze(-1);
        }
        if (a.requires_grad()) {
          Tensor<Scalar> d_a = matmul(d, right.transpose(), products);
          add_tensor_gradient(tape, a, a.sizes().rank() == 1 ? std::move(d_a).squeeze(-2) : std::move(d_a));
        }
        if (b.requires_grad()) {
          Tensor<Scalar> d_b = matmul(left.transpose(), d, products);
          add_tensor_gradient(tape, b, b.sizes().rank() == 1 ? std::move(d_b).squeeze(-1) : std::move(d_b));
        }
      });
}

}  // namespace detail

/// Returns the product a b: [m x n]. a: [m x k], b: [k x n]. Tensors of other ranks are multiplied as in
/// tensors/matmul.hpp: [.. x m x k] times [.. x k x n]; their leading dimensions broadcast.
template <class Scalar>
Variable<Scalar> matmul(const Context<Scalar>& context, const Variable<Scalar>& a, const Variable<Scalar>& b) {
  if (a.is_tensor() || b.is_tensor()) return detail::batched_matmul(context, a, b);
  Variable<Scalar> y = context.new_matrix(a.rows(), b.cols());
  matmul_forward<Scalar>(a.value(), b.value(), y.writable(), context.products());
  return context.record(
      std::move(y), {a, b}, [a, b, products = context.products()](const Variable<Scalar>& d_y, Tape<Scalar>& tape) {
        tape.add_gradient(
            a, [&](MatrixMap<Scalar> d_a) { matmul_backward_left<Scalar>(b.value(), d_y.value(), d_a, products); });
        tape.add_gradient(
            b, [&](MatrixMap<Scalar> d_b) { matmul_backward_right<Scalar>(a.value(), d_y.value(), d_b, products); });
      });
}

/// Returns x weight^T + bias: [tokens x outputs].
/// x: [tokens x inputs], weight: [outputs x inputs], bias: [1 x outputs], or empty for none.
template <class Scalar>
Variable<Scalar> linear(const Context<Scalar>& context, const Variable<Scalar>& x, const Variable<Scalar>& weight,
                        const Variable<Scalar>& bias = {}) {
  Variable<Scalar> y = context.new_rows(x, weight.rows());
  linear_forward<Scalar>(x.value(), weight.value(), bias.value(), y.writable(), context.products());
  return context.record(
      std::move(y), {x, weight, bias},
      [x, weight, bias, products = context.products()](const Variable<Scalar>& d_y, Tape<Scalar>& tape) {
        tape.add_gradient(x, [&](MatrixMap<Scalar> d_x) {
          linear_backward_input<Scalar>(weight.value(), d_y.value(), d_x, products);
        });
        tape.add_gradient(weight, [&](MatrixMap<Scalar> d_weight) {
          linear_backward_weight<Scalar>(x.value(), d_y.value(), d_weight, products);
        });
        tape.add_gradient(bias, [&](MatrixMap<Scalar> d_bias) {
          linear_backward_bias<Scalar>(d_y.value(), d_bias, products.threads);
        });
      });
}

namespace detail {

/// Calls body with the packed weight if the context has it, else with the weight's matrix.
template <class Scalar, class Body>
void with_weight(const Context<Scalar>& context, const Parameter<Scalar>& weight, Body body) {
  if (const PackedWeight<Scalar>* packed = context.packed_weight(weight))
    body(*packed);
  else
    body(ConstMatrixRef<Scalar>(weight.value));
}

}  // namespace detail

/// Returns x weight^T + bias for a layer's parameters: [tokens x outputs]. Without a tape it uses the packed weight if
/// the context has it.
/// x: [tokens x inputs], weight: [outputs x inputs], bias: [1 x outputs], or empty for none.
template <class Scalar>
Variable<Scalar> linear(const Context<Scalar>& context, const Variable<Scalar>& x, const Parameter<Scalar>& weight,
                        const Parameter<Scalar>& bias) {
  if (context.tape != nullptr)
    return linear(context, x, context.use(weight), bias.empty() ? Variable<Scalar>() : context.use(bias));
  Variable<Scalar> y = context.new_rows(x, weight.value.rows());
  detail::with_weight(context, weight, [&](const auto& w) {
    linear_forward<Scalar>(x.value(), w, bias.value, y.writable(), context.products());
  });
  return y;
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
