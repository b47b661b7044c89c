// Differentiable additive attention: see kernels/additive_attention.hpp.
#pragma once

#include "eigenformer/autograd/context.hpp"
#include "eigenformer/kernels/additive_attention.hpp"
#include "eigenformer/ops/detail/sequences.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// The results of additive attention.
template <class Scalar>
struct AdditiveAttentionResult {
  Variable<Scalar> y;        // [queries x value width]
  Variable<Scalar> weights;  // [queries x keys of the longest sequence]; not differentiable
};

/// Returns the additive attention of q over k and values, and its weights. Threads come from the context. Throws if
/// options has key_index or key_pages while a tape is recording, since they have no backward.
/// q: [queries x A], k: [keys x A], v: [1 x A], values: [keys x value width].
template <class Scalar>
AdditiveAttentionResult<Scalar> additive_attention_and_weights(const Context<Scalar>& context,
                                                               const Variable<Scalar>& q, const Variable<Scalar>& k,
                                                               const Variable<Scalar>& v,
                                                               const Variable<Scalar>& values,
                                                               AdditiveAttentionOptions options = {}) {
  check(context.tape == nullptr || (!options.key_index.has_value() && !options.key_pages.has_value()),
        "additive_attention: key_index and key_pages have no backward, and a tape is recording");
  detail::check_has_sequences("additive_attention", "q", q, options.query_rows);
  detail::check_has_sequences("additive_attention", "k", k, options.key_rows);
  detail::check_has_sequences("additive_attention", "the values", values, options.key_rows);
  options.threads = context.threads;
  options.workspace = context.tape == nullptr ? context.workspace : nullptr;
  const detail::AttentionLayout layout =
      detail::additive_attention_layout(shape(q), shape(k), shape(v), shape(values), options);
  Variable<Scalar> y = context.new_matrix(q.rows(), values.cols());
  Variable<Scalar> weights = context.new_matrix(q.rows(), layout.key_rows.max_length());
  additive_attention_forward<Scalar>({q.value(), k.value(), v.value(), values.value()}, options,
                                     {y.writable(), weights.writable()});
  y = context.record(std::move(y), {q, k, v, values},
                     [q, k, v, values, options, weights](const Variable<Scalar>& d_y, Tape<Scalar>& tape) {
                       Variable<Scalar> d_q = tape.new_matrix(q.rows(), q.cols());
                       Variable<Scalar> d_k = tape.new_matrix(k.rows(), k.cols());
                       Variable<Scalar> d_v = tape.new_matrix(v.rows(), v.cols());
                       Variable<Scalar> d_values = tape.new_matrix(values.rows(), values.cols());
                       additive_attention_backward<Scalar>(
                           {q.value(), k.value(), v.value(), values.value()}, options, weights.value(), d_y.value(),
                           {d_q.writable(), d_k.writable(), d_v.writable(), d_values.writable()});
                       tape.add_gradient(q, std::move(d_q));
                       tape.add_gradient(k, std::move(d_k));
                       tape.add_gradient(v, std::move(d_v));
                       tape.add_gradient(values, std::move(d_values));
                     });
  return {std::move(y), std::move(weights)};
}

/// Returns the additive attention of q over k and values: [queries x value width]. Threads come from the context.
/// Throws if options has key_index or key_pages while a tape is recording, since they have no backward.
/// q: [queries x A], k: [keys x A], v: [1 x A], values: [keys x value width].
template <class Scalar>
Variable<Scalar> additive_attention(const Context<Scalar>& context, const Variable<Scalar>& q,
                                    const Variable<Scalar>& k, const Variable<Scalar>& v,
                                    const Variable<Scalar>& values, const AdditiveAttentionOptions& options = {}) {
  return additive_attention_and_weights(context, q, k, v, values, options).y;
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
