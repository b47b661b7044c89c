// Attention made differentiable: see kernels/attention.hpp.
#pragma once

#include <variant>

#include "eigenformer/autograd/context.hpp"
#include "eigenformer/kernels/attention_backward.hpp"
#include "eigenformer/kernels/chosen_score.hpp"
#include "eigenformer/kernels/dense_mask.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// The scores that layers choose among when they run, and what kernels take of them.
using AnyScore = std::variant<Unmasked, Causal, DenseMask>;
using AnyMask = ChosenScore<Unmasked, Causal, DenseMask>;

namespace detail {

/// Options with what comes from the context: threads, and the draws of dropout.
template <class Scalar>
AttentionOptions with_context(const Context<Scalar>& context, AttentionOptions options) {
  options.threads = context.threads;
  if (context.rng == nullptr) options.dropout = 0;
  if (options.dropout > 0) options.dropout_key = context.rng->split();
  return options;
}

/// Attention with a score that reads numbers of its own, if they are not empty: make_score(d_numbers) is that score,
/// whose backward adds to d_numbers, or to nothing if it is null.
template <class Scalar, class MakeScore>
Variable<Scalar> attention_by(const Context<Scalar>& context, const Variable<Scalar>& q, const Variable<Scalar>& k,
                              const Variable<Scalar>& v, const Variable<Scalar>& numbers, const MakeScore& make_score,
                              const AttentionOptions& options) {
  const AttentionLayout layout = attention_layout(shape(q), shape(k), shape(v), options);
  Variable<Scalar> y = context.new_matrix(q.rows(), layout.heads * layout.value_width);
  Variable<Scalar> log_sum_exp = context.new_matrix(q.rows(), layout.heads);
  attention_forward<Scalar>(strided_view(q.value()), strided_view(k.value()), strided_view(v.value()),
                            make_score(nullptr), options, y.writable(), log_sum_exp.writable());
  if (context.tape == nullptr) return y;
  check(!options.key_index.has_value(), "attention: key_index has no backward, and a tape is recording");
  return context.record(
      y, {q, k, v, numbers},
      [q, k, v, numbers, make_score, options, y, log_sum_exp](const Variable<Scalar>& d_y, Tape<Scalar>& tape) {
        Variable<Scalar> d_q = tape.new_matrix(q.rows(), q.cols());
        Variable<Scalar> d_k = tape.new_matrix(k.rows(), k.cols());
        Variable<Scalar> d_v = tape.new_matrix(v.rows(), v.cols());
        Variable<Scalar> d_numbers;
        if (numbers.recorded()) {
          d_numbers = tape.new_matrix(numbers.rows(), numbers.cols());
          d_numbers.writable().setZero();
        }
        attention_backward<Scalar>(strided_view(q.value()), strided_view(k.value()), strided_view(v.value()),
                                   make_score(d_numbers.writable().data()), options, y.value(), log_sum_exp.value(),
                                   d_y.value(), d_q.writable(), d_k.writable(), d_v.writable());
        tape.add_gradient(q, std::move(d_q));
        tape.add_gradient(k, std::move(d_k));
        tape.add_gradient(v, std::move(d_v));
        tape.add_gradient(numbers, std::move(d_numbers));
      });
}

}  // namespace detail

/// The attention of q over k and v: [queries x heads * value width]. Shapes and options as in the kernel; threads and
/// the draws of dropout come from the context, and without a generator there nothing is dropped.
template <class Scalar, Score S>
Variable<Scalar> attention(const Context<Scalar>& context, const Variable<Scalar>& q, const Variable<Scalar>& k,
                           const Variable<Scalar>& v, const S& score, const AttentionOptions& options = {}) {
  return detail::attention_by(
      context, q, k, v, Variable<Scalar>(), [score](Scalar*) { return score; }, detail::with_context(context, options));
}

template <class Scalar>
Variable<Scalar> attention(const Context<Scalar>& context, const Variable<Scalar>& q, const Variable<Scalar>& k,
                           const Variable<Scalar>& v, const AnyScore& score, const AttentionOptions& options = {}) {
  return attention(context, q, k, v, AnyMask(score), options);
}

template <class Scalar>
Variable<Scalar> attention(const Context<Scalar>& context, const Variable<Scalar>& q, const Variable<Scalar>& k,
                           const Variable<Scalar>& v, const AttentionOptions& options = {}) {
  return attention(context, q, k, v, Unmasked{}, options);
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
