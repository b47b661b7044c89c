// Attention made differentiable: see kernels/attention.hpp.
#pragma once

#include <variant>

#include "eigenformer/autograd/context.hpp"
#include "eigenformer/kernels/attention_backward.hpp"
#include "eigenformer/kernels/dense_mask.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// The scores that layers choose among when they run; it is looked into once a call.
using AnyScore = std::variant<Unmasked, Causal, DenseMask>;

/// The attention of q over k and v: [queries x heads * value width]. Shapes and options as in the kernel; threads and
/// the draws of dropout come from the context, and without a generator there nothing is dropped.
template <class Scalar, Score S>
Variable<Scalar> attention(const Context<Scalar>& context, const Variable<Scalar>& q, const Variable<Scalar>& k,
                           const Variable<Scalar>& v, const S& score, AttentionOptions options = {}) {
  options.threads = context.threads;
  if (context.rng == nullptr) options.dropout = 0;
  if (options.dropout > 0) options.dropout_key = context.rng->split();
  const detail::AttentionLayout layout = detail::attention_layout(shape(q), shape(k), shape(v), options);
  Variable<Scalar> y = context.new_matrix(q.rows(), layout.heads * layout.value_width);
  Variable<Scalar> log_sum_exp = context.new_matrix(q.rows(), layout.heads);
  attention_forward<Scalar>(strided_view(q.value()), strided_view(k.value()), strided_view(v.value()), score, options,
                            y.writable(), log_sum_exp.writable());
  if (context.tape == nullptr) return y;
  check(options.key_index.empty(), "attention: key_index has no backward, and a tape is recording");
  return context.record(
      y, {q, k, v}, [q, k, v, score, options, y, log_sum_exp](const Variable<Scalar>& d_y, Tape<Scalar>& tape) {
        Variable<Scalar> d_q = tape.new_matrix(q.rows(), q.cols());
        Variable<Scalar> d_k = tape.new_matrix(k.rows(), k.cols());
        Variable<Scalar> d_v = tape.new_matrix(v.rows(), v.cols());
        attention_backward<Scalar>(strided_view(q.value()), strided_view(k.value()), strided_view(v.value()), score,
                                   options, y.value(), log_sum_exp.value(), d_y.value(), d_q.writable(), d_k.writable(),
                                   d_v.writable());
        tape.add_gradient(q, std::move(d_q));
        tape.add_gradient(k, std::move(d_k));
        tape.add_gradient(v, std::move(d_v));
      });
}

template <class Scalar>
Variable<Scalar> attention(const Context<Scalar>& context, const Variable<Scalar>& q, const Variable<Scalar>& k,
                           const Variable<Scalar>& v, const AnyScore& score, const AttentionOptions& options = {}) {
  return std::visit([&](const auto& s) { return attention(context, q, k, v, s, options); }, score);
}

template <class Scalar>
Variable<Scalar> attention(const Context<Scalar>& context, const Variable<Scalar>& q, const Variable<Scalar>& k,
                           const Variable<Scalar>& v, const AttentionOptions& options = {}) {
  return attention(context, q, k, v, Unmasked{}, options);
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
