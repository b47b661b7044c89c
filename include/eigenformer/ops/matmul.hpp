// Differentiable matrix products: see kernels/matmul.hpp.
#pragma once

#include "eigenformer/autograd/context.hpp"
#include "eigenformer/kernels/matmul.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// Returns the product a b: [m x n]. a: [m x k], b: [k x n].
template <class Scalar>
Variable<Scalar> matmul(const Context<Scalar>& context, const Variable<Scalar>& a, const Variable<Scalar>& b) {
  Variable<Scalar> y = context.new_matrix(a.rows(), b.cols());
  matmul_forward<Scalar>(a.value(), b.value(), y.writable(), context.threads);
  return context.record(
      std::move(y), {a, b}, [a, b, threads = context.threads](const Variable<Scalar>& d_y, Tape<Scalar>& tape) {
        tape.add_gradient(
            a, [&](MatrixMap<Scalar> d_a) { matmul_backward_left<Scalar>(b.value(), d_y.value(), d_a, threads); });
        tape.add_gradient(
            b, [&](MatrixMap<Scalar> d_b) { matmul_backward_right<Scalar>(a.value(), d_y.value(), d_b, threads); });
      });
}

/// Returns x weight^T + bias: [tokens x outputs].
/// x: [tokens x inputs], weight: [outputs x inputs], bias: [1 x outputs], or empty for none.
template <class Scalar>
Variable<Scalar> linear(const Context<Scalar>& context, const Variable<Scalar>& x, const Variable<Scalar>& weight,
                        const Variable<Scalar>& bias = {}) {
  Variable<Scalar> y = context.new_matrix(x.rows(), weight.rows());
  linear_forward<Scalar>(x.value(), weight.value(), bias.value(), y.writable(), context.threads);
  return context.record(std::move(y), {x, weight, bias},
                        [x, weight, bias, threads = context.threads](const Variable<Scalar>& d_y, Tape<Scalar>& tape) {
                          tape.add_gradient(x, [&](MatrixMap<Scalar> d_x) {
                            linear_backward_input<Scalar>(weight.value(), d_y.value(), d_x, threads);
                          });
                          tape.add_gradient(weight, [&](MatrixMap<Scalar> d_weight) {
                            linear_backward_weight<Scalar>(x.value(), d_y.value(), d_weight, threads);
                          });
                          tape.add_gradient(bias, [&](MatrixMap<Scalar> d_bias) {
                            linear_backward_bias<Scalar>(d_y.value(), d_bias, threads);
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
  Variable<Scalar> y = context.new_matrix(x.rows(), weight.value.rows());
  detail::with_weight(context, weight, [&](const auto& w) {
    linear_forward<Scalar>(x.value(), w, bias.value, y.writable(), context.threads);
  });
  return y;
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
