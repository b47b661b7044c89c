// Differentiable convolution: see kernels/convolution.hpp.
#pragma once

#include "eigenformer/autograd/context.hpp"
#include "eigenformer/kernels/convolution.hpp"
#include "eigenformer/ops/detail/sequences.hpp"
#include "eigenformer/ops/matmul.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// Returns the convolution of each sequence: [tokens x outputs].
/// x: [tokens x inputs], weight: [outputs x kernel * inputs], bias: [1 x outputs], or empty for none.
template <class Scalar>
Variable<Scalar> convolution(const Context<Scalar>& context, const Variable<Scalar>& x, const Variable<Scalar>& weight,
                             const Variable<Scalar>& bias, const ConvolutionWindow& window,
                             const RowOffsets& rows = {}) {
  detail::check_has_sequences("convolution", "x", x, rows);
  Variable<Scalar> y = context.new_matrix(x.rows(), weight.rows());
  convolution_forward<Scalar>({x.value(), weight.value(), bias.value()}, rows, window, y.writable(), context.threads);
  if (context.tape == nullptr) return y;
  return context.record(
      std::move(y), {x, weight, bias},
      [x, weight, bias, window, rows, threads = context.threads](const Variable<Scalar>& d_y, Tape<Scalar>& tape) {
        tape.add_gradient(x, [&](MatrixMap<Scalar> d_x) {
          convolution_backward_input<Scalar>(weight.value(), d_y.value(), rows, window, d_x, threads);
        });
        tape.add_gradient(weight, [&](MatrixMap<Scalar> d_weight) {
          convolution_backward_weight<Scalar>(x.value(), d_y.value(), rows, window, d_weight, threads);
        });
        tape.add_gradient(
            bias, [&](MatrixMap<Scalar> d_bias) { linear_backward_bias<Scalar>(d_y.value(), d_bias, threads); });
      });
}

/// Returns the convolution of each sequence with a layer's parameters: [tokens x outputs]. Without a tape it uses the
/// packed weight if the context has it as float32.
/// x: [tokens x inputs], weight: [outputs x kernel * inputs], bias: [1 x outputs], or empty for none.
template <class Scalar>
Variable<Scalar> convolution(const Context<Scalar>& context, const Variable<Scalar>& x, const Parameter<Scalar>& weight,
                             const Parameter<Scalar>& bias, const ConvolutionWindow& window,
                             const RowOffsets& rows = {}) {
  if (context.tape != nullptr)
    return convolution(context, x, context.use(weight), bias.empty() ? Variable<Scalar>() : context.use(bias), window,
                       rows);
  detail::check_has_sequences("convolution", "x", x, rows);
  Variable<Scalar> y = context.new_matrix(x.rows(), weight.value.rows());
  const PackedWeight<Scalar>* const packed = context.packed_weight(weight);
  if (packed != nullptr && packed->type() == WeightType::float32)
    convolution_forward<Scalar>({x.value(), *packed, bias.value}, rows, window, y.writable(), context.threads);
  else
    convolution_forward<Scalar>({x.value(), weight.value, bias.value}, rows, window, y.writable(), context.threads);
  return y;
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
