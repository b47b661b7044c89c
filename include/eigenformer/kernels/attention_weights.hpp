// The scores and the weights of attention, softmax(Q K^T / sqrt(d_k)), for inspection.
#pragma once

#include "eigenformer/kernels/attention.hpp"
#include "eigenformer/kernels/detail/attention/score_matrix.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

namespace detail {

template <class Scalar>
Tensor<Scalar> attention_scores(const AttentionLayout& layout, const TensorView<const Scalar>& q,
                                   const TensorView<const Scalar>& k, const ErasedScore<Scalar>& score,
                                   Threads* threads) {
  Tensor<Scalar> result({layout.heads, q.dimension(0), layout.key_rows.max_length()});
  std::fill_n(result.data(), result.size(), hidden_score<Scalar>);
  for_each_score_matrix<Scalar>(layout, q, k, score, threads, [&](const ScoreTile& tile, auto& scores) {
    result.matrix(tile.head).block(tile.first_row, 0, tile.queries, tile.keys) = scores;
  });
  return result;
}

template <class Scalar>
Tensor<Scalar> attention_weights(const AttentionLayout& layout, const TensorView<const Scalar>& q,
                                    const TensorView<const Scalar>& k, const ErasedScore<Scalar>& score,
                                    Threads* threads) {
  Tensor<Scalar> weights({layout.heads, q.dimension(0), layout.key_rows.max_length()});
  for_each_score_matrix<Scalar>(layout, q, k, score, threads, [&](const ScoreTile& tile, auto& scores) {
    softmax_of_queries(scores);
    weights.matrix(tile.head).block(tile.first_row, 0, tile.queries, tile.keys) = scores;
  });
  return weights;
}

/// Whether q and k may have these types. If not, a static_assert explains why.
template <class Q, class K>
constexpr bool are_matrices() {
  constexpr bool readable = Operand<Q> && Operand<K> && !TensorOperand<Q> && !TensorOperand<K>;
  static_assert(readable,
                "attention weights and scores take Eigen matrices: write x.matrix() for an Array, x.value() for a "
                "Variable, an Eigen::Map for other memory");
  if constexpr (readable) {
    using Scalar = OperandScalar<Q>;
    constexpr bool computed =
        (std::is_same_v<Scalar, float> || std::is_same_v<Scalar, double>)&&std::is_same_v<Scalar, OperandScalar<K>>;
    static_assert(computed, "attention weights: q and k are both of float, or both of double");
    return computed;
  }
  return false;
}

/// Returns body(layout, q, k, score, threads) for the arguments of a call. If a type is wrong, a static_assert explains
/// why.
template <class Q, class K, class S, class O, class Body>
auto with_scores_of(const Q& q, const K& k, const S& score, const O& options, Body body) {
  if constexpr (are_matrices<Q, K>()) {
    using Scalar = OperandScalar<Q>;
    const auto& q_matrix = operand(q);
    const auto& k_matrix = operand(k);
    return with_score_and_options<Scalar>(score, options, [&](const auto& checked, const AttentionOptions& given) {
      const AttentionLayout layout = attention_layout(shape(q_matrix), shape(k_matrix), shape(k_matrix), given);
      const Readable q_rows(q_matrix);
      const Readable k_rows(k_matrix);
      return body(layout, q_rows.view(), k_rows.view(), ErasedScore<Scalar>(checked, std::false_type{}), given.threads);
    });
  } else {
    return Tensor<float>();
  }
}

}  // namespace detail

/// Returns the scores that softmax receives: Q K^T / sqrt(d_k), then `score`.
/// The result is [heads x query rows x keys of the longest sequence], with -inf for hidden keys and beyond the keys of
/// a sequence. `score` and `options` may be omitted, as in attention().
///
/// To see intermediate scores, pass only the first steps of a score. For ONNX's qk_matmul_output_mode 0 pass
/// Unmasked{}, for mode 1 the SoftCap alone, for mode 2 the whole score. Mode 3 is attention_weights().
template <class Q, class K, class S = AttentionOptions, class O = OptionsAfter<S>>
auto attention_scores(const Q& q, const K& k, const S& score = {}, const O& options = {}) {
  return detail::with_scores_of(
      q, k, score, options,
      [](const auto& layout, const auto& q_view, const auto& k_view, const auto& any, Threads* threads) {
        return detail::attention_scores(layout, q_view, k_view, any, threads);
      });
}

/// Returns the attention weights, [heads x query rows x keys of the longest sequence]: the n x n matrix that
/// attention() never forms. Entries beyond the keys of a sequence are 0. A query that sees no key has a row of zeros.
/// Dropout is not applied: these are the weights, not a sample of them. `score` and `options` may be omitted, as in
/// attention().
template <class Q, class K, class S = AttentionOptions, class O = OptionsAfter<S>>
auto attention_weights(const Q& q, const K& k, const S& score = {}, const O& options = {}) {
  return detail::with_scores_of(
      q, k, score, options,
      [](const auto& layout, const auto& q_view, const auto& k_view, const auto& any, Threads* threads) {
        return detail::attention_weights(layout, q_view, k_view, any, threads);
      });
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
