// All of a sequence's scores of one head at once, for those who want to look at them or sum them.
#pragma once

#include "eigenformer/core/threads.hpp"
#include "eigenformer/kernels/detail/attention/erased_score.hpp"
#include "eigenformer/kernels/detail/attention/tile_reader.hpp"
#include "eigenformer/kernels/detail/gemm/product.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

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
void apply_to_all(const ErasedScore<Scalar>& score, const ScoreTile& tile, ScoreMatrix<Scalar>& scores, Apply apply) {
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
                           const TensorView<const Scalar, 2>& k, const ErasedScore<Scalar>& score, Threads* threads,
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

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
