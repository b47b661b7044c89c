// The scores of attention and its weights, softmax(Q K^T / sqrt(d_k)), for those who want to look at them.
#pragma once

#include "eigenformer/kernels/attention.hpp"
#include "eigenformer/kernels/detail/attention/anonymous_score.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

namespace detail {

/// All of a sequence's queries and keys, of one head.
inline ScoreTile whole_tile(const AttentionLayout& layout, Index sequence, Index head) {
  ScoreTile tile;
  tile.head = head;
  tile.sequence = sequence;
  tile.first_row = layout.query_rows.begin(sequence);
  tile.query_end = tile.queries = layout.query_rows.length(sequence);
  tile.key_end = tile.keys = layout.key_rows.length(sequence);
  return tile;
}

/// A sequence's scores for one head as a matrix [queries x keys], a key's queries contiguous.
template <class Scalar>
using ScoreMatrix = Eigen::Matrix<Scalar, Eigen::Dynamic, Eigen::Dynamic, Eigen::ColMajor>;
template <class Scalar>
ScoreBlock<Scalar> score_block(ScoreMatrix<Scalar>& scores) {
  return {scores.data(), scores.rows(), scores.cols(), Eigen::OuterStride<>(scores.rows())};
}

/// Applies a score to all scores of `tile` by apply(its scores).
template <class Scalar, class Apply>
void apply_to_all(const AnonymousScore<Scalar>& score, const ScoreTile& tile, ScoreMatrix<Scalar>& scores,
                  Apply apply) {
  if (score.kind.changes_values)
    apply_carefully(score_block(scores), apply);
  else if (score.visible(tile) != Visible::all)
    apply(score_block(scores));
}

/// The scaled scores of a whole tile, given its keys.
template <class Scalar>
ScoreMatrix<Scalar> scaled_scores(const AttentionLayout& layout, const HeadRows<const Scalar>& q,
                                  const Strided<Scalar>& keys, const ScoreTile& tile) {
  ScoreMatrix<Scalar> scores(tile.queries, tile.keys);
  const Strided<Scalar> queries = q.from(tile.head, tile.first_row);
  multiply_block<Scalar>({.rows = tile.keys,
                          .cols = tile.queries,
                          .depth = layout.key_width,
                          .a = keys,
                          .b = transposed(queries),
                          .start = {},
                          .c = {scores.data(), tile.queries}});
  scores *= static_cast<Scalar>(layout.scale);
  return scores;
}

/// Scores become weights: each row's softmax, or zeros in a row of which all is hidden.
template <class Scalar>
void softmax_of_queries(ScoreMatrix<Scalar>& scores) {
  using Column = Eigen::Array<Scalar, Eigen::Dynamic, 1>;
  const auto column = [&](Index j) { return scores.col(j).array(); };
  // Comparisons pass over NaN, which so reaches the sum.
  Column largest = Column::Constant(scores.rows(), hidden_score<Scalar>), sum = Column::Zero(scores.rows());
  for (Index j = 0; j < scores.cols(); ++j) largest = (column(j) > largest).select(column(j), largest);
  for (Index j = 0; j < scores.cols(); ++j) {
    const auto is_hidden = column(j).unaryExpr([](Scalar score) { return is_minus_infinity(score); });
    column(j) = is_hidden.select(Scalar(0), (column(j) - largest).exp());
    sum += column(j);
  }
  sum = (sum == Scalar(0)).select(Scalar(1), sum);
  for (Index j = 0; j < scores.cols(); ++j) column(j) /= sum;
}

/// Calls body(tile, scores) for every sequence and head that has queries and keys, where scores
/// [queries x keys] is a matrix of its own: what softmax would get. In parallel.
template <class Scalar, class Body>
void for_each_score_matrix(const AttentionLayout& layout, const TensorView<const Scalar, 2>& q,
                           const TensorView<const Scalar, 2>& k, const AnonymousScore<Scalar>& score, Threads* threads,
                           Body&& body) {
  score.check_covers(whole_batch(layout));
  const HeadRows<const Scalar> q_rows = head_columns(q, layout.heads), k_rows = head_columns(k, layout.key_heads);
  const Index sequences = layout.sequences();
  parallel_for(threads, layout.heads * sequences, 1, [&](Index i, Index) {
    const ScoreTile tile = whole_tile(layout, i % sequences, i / sequences);
    if (tile.queries == 0 || tile.keys == 0) return;
    TileReader<Scalar> reader;
    const Strided<Scalar> keys = reader.read(k_rows, layout, layout.key_head(tile.head), tile);
    ScoreMatrix<Scalar> scores = scaled_scores<Scalar>(layout, q_rows, keys, tile);
    apply_to_all(score, tile, scores, [&](ScoreBlock<Scalar> block) { score.apply(tile, block); });
    body(tile, scores);
  });
}

template <class Scalar>
Tensor<Scalar, 3> attention_scores(const AttentionLayout& layout, const TensorView<const Scalar, 2>& q,
                                   const TensorView<const Scalar, 2>& k, const AnonymousScore<Scalar>& score,
                                   Threads* threads) {
  Tensor<Scalar, 3> result({layout.heads, q.dimension(0), layout.key_rows.longest()});
  std::fill_n(result.data(), result.size(), hidden_score<Scalar>);
  for_each_score_matrix<Scalar>(layout, q, k, score, threads, [&](const ScoreTile& tile, auto& scores) {
    result.matrix(tile.head).block(tile.first_row, 0, tile.queries, tile.keys) = scores;
  });
  return result;
}

template <class Scalar>
Tensor<Scalar, 3> attention_weights(const AttentionLayout& layout, const TensorView<const Scalar, 2>& q,
                                    const TensorView<const Scalar, 2>& k, const AnonymousScore<Scalar>& score,
                                    Threads* threads) {
  Tensor<Scalar, 3> weights({layout.heads, q.dimension(0), layout.key_rows.longest()});
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
      return body(layout, q_rows.view(), k_rows.view(), AnonymousScore<Scalar>(checked, std::false_type{}),
                  given.threads);
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
