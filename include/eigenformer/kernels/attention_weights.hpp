// The scores and the weights of attention, softmax(Q K^T / sqrt(d_k)), for inspection.
#pragma once

#include "eigenformer/kernels/attention.hpp"
#include "eigenformer/kernels/detail/attention/score_matrix.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

namespace detail {

/// What attention_scores and attention_weights return.
enum class ScoreResult { scores, weights };

/// Returns all scores or weights of a call: [heads x query rows x keys of the longest sequence] for matrices, [batch x
/// heads x queries x keys] for tensors. Beyond the keys of a sequence, scores are -inf and weights are 0.
template <class Scalar>
Tensor<Scalar> scores_or_weights(ScoreResult wanted, const AttentionInputs<Scalar>& in,
                                 const ErasedScore<Scalar>& score, const AttentionOptions& options) {
  const TensorView<const Scalar> q = by_heads(in.q, options), k = by_heads(in.k, options);
  const AttentionLayout layout = operands_layout(q.shape(), k.shape(), k.shape(), options);
  const bool is_matrix = q.rank() == 2;
  Tensor<Scalar> result(is_matrix ? Sizes{layout.heads, q.shape()[0], layout.key_rows.max_length()}
                                  : Sizes{q.shape()[0], q.shape()[1], q.shape()[2], k.shape()[2]},
                        wanted == ScoreResult::scores ? hidden_score<Scalar> : Scalar(0));
  for_each_score_matrix<Scalar>(
      layout, q, k, score, options.threads, [&](const ScoreTile& tile, ScoreMatrix<Scalar>& scores) {
        if (wanted == ScoreResult::weights) weights_of_queries(layout, tile, scores);
        auto to = is_matrix ? result.matrix(tile.head) : result.matrix(tile.sequence, tile.head);
        to.block(is_matrix ? tile.first_row : 0, 0, tile.queries, tile.keys) = scores;
      });
  return result;
}
EIGENFORMER_FLOAT(Tensor<float> scores_or_weights(ScoreResult, const AttentionInputs<float>&, const ErasedScore<float>&,
                                                  const AttentionOptions&));
EIGENFORMER_DOUBLE(Tensor<double> scores_or_weights(ScoreResult, const AttentionInputs<double>&,
                                                    const ErasedScore<double>&, const AttentionOptions&));

/// Whether q and k may have these types. If not, a static_assert explains why.
template <class Q, class K>
constexpr bool have_scores() {
  constexpr bool readable = Operand<Q> && Operand<K> && TensorOperand<Q> == TensorOperand<K>;
  static_assert(readable,
                "attention weights and scores take Eigen matrices or tensors: write x.matrix() for an Array, x.value() "
                "for a Variable, an Eigen::Map for other memory");
  if constexpr (readable) {
    using Scalar = OperandScalar<Q>;
    constexpr bool computed =
        (std::is_same_v<Scalar, float> || std::is_same_v<Scalar, double>)&&std::is_same_v<Scalar, OperandScalar<K>>;
    static_assert(computed, "attention weights: q and k are both of float, or both of double");
    return computed;
  }
  return false;
}

/// Calls scores_or_weights with the arguments of attention_scores or attention_weights. If a type is wrong, a
/// static_assert explains why.
template <class Q, class K, class S, class O>
auto scores_or_weights_of(ScoreResult wanted, const Q& q, const K& k, const S& score, const O& options) {
  if constexpr (have_scores<Q, K>()) {
    using Scalar = OperandScalar<Q>;
    return with_score_and_options<Scalar>(score, options, [&](const auto& checked, const AttentionOptions& given) {
      const ErasedScore<Scalar> any(checked, std::false_type{});
      if constexpr (TensorOperand<Q>) {
        return scores_or_weights<Scalar>(wanted, {operand(q), operand(k), operand(k)}, any, given);
      } else {
        const Readable q_rows(operand(q));
        const Readable k_rows(operand(k));
        return scores_or_weights<Scalar>(wanted, {q_rows.view(), k_rows.view(), k_rows.view()}, any, given);
      }
    });
  } else {
    return Tensor<float>();
  }
}

}  // namespace detail

/// Returns the scores that softmax receives: Q K^T / sqrt(d_k), then `score`.
/// The result is [heads x query rows x keys of the longest sequence], or [batch x heads x queries x keys] for tensors,
/// with -inf for hidden keys and beyond the keys of a sequence. `score` and `options` may be omitted, as in
/// attention().
///
/// To see intermediate scores, pass only the first steps of a score. For ONNX's qk_matmul_output_mode 0 pass
/// Unmasked{}, for mode 1 the SoftCap alone, for mode 2 the whole score. Mode 3 is attention_weights(). Specifications
/// before May 2026 exchange modes 1 and 2.
template <class Q, class K, class S = AttentionOptions, class O = OptionsAfter<S>>
auto attention_scores(const Q& q, const K& k, const S& score = {}, const O& options = {}) {
  return detail::scores_or_weights_of(detail::ScoreResult::scores, q, k, score, options);
}

/// Returns the attention weights, [heads x query rows x keys of the longest sequence], or [batch x heads x queries x
/// keys] for tensors: the n x n matrix that attention() never forms. Entries beyond the keys of a sequence are 0. A
/// query that sees no key has a row of zeros. Dropout is not applied: these are the weights, not a sample of them.
/// `score` and `options` may be omitted, as in attention().
template <class Q, class K, class S = AttentionOptions, class O = OptionsAfter<S>>
auto attention_weights(const Q& q, const K& k, const S& score = {}, const O& options = {}) {
  return detail::scores_or_weights_of(detail::ScoreResult::weights, q, k, score, options);
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
