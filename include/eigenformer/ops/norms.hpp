// Differentiable norms: see kernels/layer_norm.hpp and kernels/rms_norm.hpp.
#pragma once

#include "eigenformer/autograd/context.hpp"
#include "eigenformer/kernels/layer_norm.hpp"
#include "eigenformer/kernels/rms_norm.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

namespace detail {

/// What a layer norm's forward saves for its backward.
template <class Scalar>
struct LayerNormVariables {
  Variable<Scalar> x;     // [tokens x features]
  Variable<Scalar> gain;  // [1 x features]
  Variable<Scalar> bias;  // [1 x features]
  Variable<Scalar> mean;  // [tokens x 1]
  Variable<Scalar> rstd;  // [tokens x 1]
};

/// Returns d_x [tokens x features] and adds the gradients of gain and bias to the tape.
template <class Scalar>
Variable<Scalar> layer_norm_gradient(const LayerNormVariables<Scalar>& saved, const Variable<Scalar>& d_y,
                                     Threads* threads, Tape<Scalar>& tape) {
  const auto& [x, gain, bias, mean, rstd] = saved;
  Variable<Scalar> d_x = tape.new_matrix(x.rows(), x.cols());
  Variable<Scalar> d_gain = tape.new_matrix(1, x.cols());
  Variable<Scalar> d_bias = tape.new_matrix(1, x.cols());
  layer_norm_backward<Scalar>({x.value(), gain.value(), mean.value(), rstd.value()}, d_y.value(),
                              {d_x.writable(), d_gain.writable(), d_bias.writable()}, threads);
  tape.add_gradient(gain, std::move(d_gain));
  tape.add_gradient(bias, std::move(d_bias));
  return d_x;
}

}  // namespace detail

/// Returns the layer norm of each row: [tokens x features]. x: [tokens x features]; gain, bias: [1 x features].
template <class Scalar>
Variable<Scalar> layer_norm(const Context<Scalar>& context, const Variable<Scalar>& x, const Variable<Scalar>& gain,
                            const Variable<Scalar>& bias, double epsilon = 1e-5) {
  Variable<Scalar> y = context.new_like(x);
  Variable<Scalar> mean = context.new_matrix(x.rows(), 1);
  Variable<Scalar> rstd = context.new_matrix(x.rows(), 1);
  layer_norm_forward<Scalar>({x.value(), gain.value(), bias.value()}, epsilon,
                             {y.writable(), mean.writable(), rstd.writable()}, context.threads);
  return context.record(std::move(y), {x, gain, bias},
                        [saved = detail::LayerNormVariables<Scalar>{x, gain, bias, mean, rstd},
                         threads = context.threads](const Variable<Scalar>& d_y, Tape<Scalar>& tape) {
                          tape.add_gradient(saved.x, detail::layer_norm_gradient(saved, d_y, threads, tape));
                        });
}

/// Returns the layer norm of each row of a + b: [tokens x features]. Fuses a residual connection with its norm.
/// a, b: [tokens x features]; gain, bias: [1 x features].
template <class Scalar>
Variable<Scalar> add_layer_norm(const Context<Scalar>& context, const Variable<Scalar>& a, const Variable<Scalar>& b,
                                const Variable<Scalar>& gain, const Variable<Scalar>& bias, double epsilon = 1e-5) {
  Variable<Scalar> y = context.new_like(a);
  Variable<Scalar> sum = context.tape != nullptr ? context.new_matrix(a.rows(), a.cols()) : y;  // for the backward
  Variable<Scalar> mean = context.new_matrix(a.rows(), 1);
  Variable<Scalar> rstd = context.new_matrix(a.rows(), 1);
  add_layer_norm_forward<Scalar>({a.value(), b.value(), gain.value(), bias.value()}, epsilon, sum.writable(),
                                 {y.writable(), mean.writable(), rstd.writable()}, context.threads);
  return context.record(std::move(y), {a, b, gain, bias},
                        [a, b, saved = detail::LayerNormVariables<Scalar>{sum, gain, bias, mean, rstd},
                         threads = context.threads](const Variable<Scalar>& d_y, Tape<Scalar>& tape) {
                          const Variable<Scalar> d_sum = detail::layer_norm_gradient(saved, d_y, threads, tape);
                          tape.add_gradient(a, d_sum);
                          tape.add_gradient(b, d_sum);
                        });
}

/// Returns the RMS norm of each row: [tokens x features]. x: [tokens x features], gain: [1 x features].
template <class Scalar>
Variable<Scalar> rms_norm(const Context<Scalar>& context, const Variable<Scalar>& x, const Variable<Scalar>& gain,
                          double epsilon = 1e-5) {
  Variable<Scalar> y = context.new_like(x);
  Variable<Scalar> rrms = context.new_matrix(x.rows(), 1);
  rms_norm_forward<Scalar>(x.value(), gain.value(), epsilon, y.writable(), rrms.writable(), context.threads);
  return context.record(std::move(y), {x, gain},
                        [x, gain, rrms, threads = context.threads](const Variable<Scalar>& d_y, Tape<Scalar>& tape) {
                          Variable<Scalar> d_x = tape.new_matrix(x.rows(), x.cols());
                          Variable<Scalar> d_gain = tape.new_matrix(1, x.cols());
                          rms_norm_backward<Scalar>({x.value(), gain.value(), rrms.value()}, d_y.value(),
                                                    {d_x.writable(), d_gain.writable()}, threads);
                          tape.add_gradient(x, std::move(d_x));
                          tape.add_gradient(gain, std::move(d_gain));
                        });
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
