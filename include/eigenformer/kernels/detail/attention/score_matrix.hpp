// Computes all scores of one sequence and head at once, for callers that inspect or sum them.
#pragma once

#include "eigenformer/core/detail/exponential.hpp"
#include "eigenformer/core/detail/fast_math.hpp"
#include "eigenformer/core/function_ref.hpp"
#include "eigenformer/core/threads.hpp"
#include "eigenformer/kernels/detail/attention/erased_score.hpp"
#include "eigenformer/kernels/detail/attention/sinks.hpp"
#include "eigenformer/kernels/detail/attention/tile_reader.hpp"
#include "eigenformer/kernels/detail/gemm/product.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

/// Returns the tile of all queries and keys of one sequence and head.
inline ScoreTile whole_tile(const AttentionLayout& layout, Index sequence, Index head) {
  ScoreTile tile;
  tile.head = head;
  tile.sequence = sequence;
  tile.first_row = layout.query_rows.begin(sequence);
  tile.query_end = tile.queries = layout.query_rows.length(sequence);
  tile.key_end = tile.keys = layout.key_rows.length(sequence);
  return tile;
}

/// The scores of one sequence and head: a matrix [queries x keys], with the queries of a key contiguous.
template <class Scalar>
using ScoreMatrix = Eigen::Matrix<Scalar, Eigen::Dynamic, Eigen::Dynamic, Eigen::ColMajor>;
/// Returns the whole matrix as a block.
template <class Scalar>
ScoreBlock<Scalar> score_block(ScoreMatrix<Scalar>& scores) {
  return {scores.data(), scores.rows(), scores.cols(), Eigen::OuterStride<>(scores.rows())};
}

/// Calls apply(scores) if the score may change any score of `tile`. A score that changes values goes through
/// apply_carefully.
template <class Scalar>
void apply_to_all(const ErasedScore<Scalar>& score, const ScoreTile& tile, ScoreMatrix<Scalar>& scores,
                  std::type_identity_t<FunctionRef<void(ScoreBlock<Scalar>)>> apply) {
  if (score.kind.changes_values)
    apply_carefully(score_block(scores), apply);
  else if (score.visible(tile) != Visible::all)
    apply(score_block(scores));
}

/// Returns the scaled scores of `tile`, which has all queries and keys of its sequence. keys: the tile's keys.
template <class Scalar>
ScoreMatrix<Scalar> scaled_scores(const AttentionLayout& layout, const HeadRows<const Scalar>& q,
                                  const Strided<Scalar>& keys, const ScoreTile& tile) {
  ScoreMatrix<Scalar> scores(tile.queries, tile.keys);
  const Strided<Scalar> queries = q.of(tile.sequence).from(tile.head, tile.first_row);
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

/// Turns scores into weights in place: the softmax of each row, or zeros for a row whose keys are all hidden.
template <class Scalar>
void softmax_of_queries(ScoreMatrix<Scalar>& scores) {
  using Column = Eigen::Array<Scalar, Eigen::Dynamic, 1>;
  const auto column = [&](Index j) { return scores.col(j).array(); };
  // Comparisons ignore NaN: `largest` is never NaN, but NaN scores reach the sum.
  Column largest = Column::Constant(scores.rows(), hidden_score<Scalar>), sum = Column::Zero(scores.rows());
  for (Index j = 0; j < scores.cols(); ++j) largest = (column(j) > largest).select(column(j), largest);
  for (Index j = 0; j < scores.cols(); ++j) {
    const auto is_hidden = column(j).unaryExpr([](Scalar score) { return is_minus_infinity(score); });
    column(j) = is_hidden.select(Scalar(0), (column(j) - largest).unaryExpr(Exponential<Scalar>()));
    sum += column(j);
  }
  sum = (sum == Scalar(0)).select(Scalar(1), sum);
  for (Index j = 0; j < scores.cols(); ++j) column(j) /= sum;
}

/// Turns the scores of one head into weights; the head's sink takes its share of each row.
template <class Scalar>
void softmax_with_sink(ScoreMatrix<Scalar>& scores, double sink) {
  Eigen::ArrayXd share(scores.rows());
  for (Index i = 0; i < scores.rows(); ++i) {
    double sum = -std::numeric_limits<double>::infinity();
    for (Index j = 0; j < scores.cols(); ++j) sum = log_add_exp(sum, static_cast<double>(scores(i, j)));
    share(i) = weight_in(sum, log_add_exp(sum, sink));
  }
  softmax_of_queries(scores);
  scores.array().colwise() *= share.template cast<Scalar>();
}

/// Turns the scores of a tile's head into weights.
template <class Scalar>
void weights_of_queries(const AttentionLayout& layout, const ScoreTile& tile, ScoreMatrix<Scalar>& scores) {
  if (layout.sinks.empty())
    softmax_of_queries(scores);
  else
    softmax_with_sink(scores, layout.sinks[static_cast<std::size_t>(tile.head)]);
}

/// Calls body(tile, scores) in parallel, for every sequence and head that has queries and keys. scores: a new matrix
/// [queries x keys] with the scores that softmax would get. Throws if the score does not cover the batch.
template <class Scalar>
void for_each_score_matrix(const AttentionLayout& layout, const TensorView<const Scalar>& q,
                           const TensorView<const Scalar>& k, const ErasedScore<Scalar>& score, Threads* threads,
                           std::type_identity_t<FunctionRef<void(const ScoreTile&, ScoreMatrix<Scalar>&)>> body) {
  score.check_covers(whole_batch(layout), layout.query_rows, layout.key_rows);
  const OperandRows<const Scalar> q_operand(q, layout.heads, layout.query_rows);
  const OperandRows<const Scalar> k_operand(k, layout.key_heads, layout.key_rows);
  const HeadRows<const Scalar>&q_rows = q_operand.rows(), &k_rows = k_operand.rows();
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
