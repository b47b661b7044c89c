// The scores of attention and its weights, softmax(Q K^T / sqrt(d_k)), for those who want to look at them.
#pragma once

#include "eigenformer/kernels/attention.hpp"
#include "eigenformer/kernels/detail/attention/score_matrix.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

namespace detail {

template <class Scalar>
Tensor<Scalar, 3> attention_scores(const AttentionLayout& layout, const TensorView<const Scalar, 2>& q,
                                   const TensorView<const Scalar, 2>& k, const ErasedScore<Scalar>& score,
                                   Threads* threads) {
  Tensor<Scalar, 3> result({layout.heads, q.dimension(0), layout.key_rows.max_length()});
  std::fill_n(result.data(), result.size(), hidden_score<Scalar>);
  for_each_score_matrix<Scalar>(layout, q, k, score, threads, [&](const ScoreTile& tile, auto& scores) {
    result.matrix(tile.head).block(tile.first_row, 0, tile.queries, tile.keys) = scores;
  });
  return result;
}

template <class Scalar>
Tensor<Scalar, 3> attention_weights(const AttentionLayout& layout, const TensorView<const Scalar, 2>& q,
                                    const TensorView<const Scalar, 2>& k, const ErasedScore<Scalar>& score,
                                    Threads* threads) {
  Tensor<Scalar, 3> weights({layout.heads, q.dimension(0), layout.key_rows.max_length()});
  for_each_score_matrix<Scalar>(layout, q, k, score, threads, [&](const ScoreTile& tile, auto& scores) {
    softmax_of_queries(scores);
    weights.matrix(tile.head).block(tile.first_row, 0, tile.queries, tile.keys) = scores;
  });
  return weights;
}

/// Whether q and k may be of these types. If not, a sentence says what is wrong with them.
template <class Q, class K>
constexpr bool are_matrices() {
  constexpr bool readable = Operand<Q> && Operand<K> && !TensorOperand<Q> && !TensorOperand<K>;
  static_assert(readable,
                "attention weights are those of Eigen matrices: write x.matrix() for an Array, x.value() for a "
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

/// body(layout, q, k, score, threads) for the arguments of a call; a sentence says what is wrong with their types.
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
    return Tensor<float, 3>();
  }
}

}  // namespace detail

/// The scores that softmax gets, [heads x query rows x keys of the longest sequence]: Q K^T / sqrt(d_k), then `score`.
/// Minus infinity where something is hidden, and beyond a sequence's keys.
///
/// `score` and `options` may be left out, as in attention().
///
/// What a score does in steps is seen by giving only the first of them: ONNX's qk_matmul_output_mode 0 is Unmasked{},
/// mode 1 the SoftCap, mode 2 all of it, and mode 3 attention_weights.
template <class Q, class K, class S = AttentionOptions, class O = OptionsAfter<S>>
auto attention_scores(const Q& q, const K& k, const S& score = {}, const O& options = {}) {
  return detail::with_scores_of(
      q, k, score, options,
      [](const auto& layout, const auto& q_view, const auto& k_view, const auto& any, Threads* threads) {
        return detail::attention_scores(layout, q_view, k_view, any, threads);
      });
}

/// The attention weights [heads x query rows x keys of the longest sequence]: this is the n x n matrix that attention()
/// never makes. A query's row ends in zeros where its sequence has fewer keys; one that sees nothing is all zeros.
/// Dropout is left out: these are the weights, not a sample of them. `score` and `options` may be left out, as in
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
