// What biases that depend on the distance of query and key have in common: along a diagonal of the scores they are one
// number, so a tile of [queries x keys] needs queries + keys - 1 of them.
#pragma once

#include "eigenformer/kernels/score.hpp"
#include "eigenformer/kernels/tile_memory.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

/// Adds bias(distance) to each score, where distance = position of the query - position of the key.
/// `past`: position of the sequence's first query.
template <class Scalar, class Bias>
void add_distance_bias(const ScoreTile& tile, Index past, ScoreBlock<Scalar> scores, Bias bias) {
  const Index first = past + tile.query_begin - (tile.key_end - 1);  // distance of the first query and the last key
  TileMemory<Scalar> memory(scores.rows() + scores.cols());
  Eigen::Map<Eigen::Array<Scalar, Eigen::Dynamic, 1>> biases(memory.data(), scores.rows() + scores.cols() - 1);
  for (Index i = 0; i < biases.size(); ++i) biases[i] = bias(first + i);
  for (Index j = 0; j < scores.cols(); ++j)
    scores.col(j).array() += biases.segment(scores.cols() - 1 - j, scores.rows());
}

/// Calls add(distance, sum of d_scores along that diagonal).
template <class Scalar, class Add>
void sum_distances(const ScoreTile& tile, Index past, ScoreBlock<Scalar> d_scores, Add add) {
  const Index first = past + tile.query_begin - (tile.key_end - 1);
  TileMemory<Scalar> memory(d_scores.rows() + d_scores.cols());
  Eigen::Map<Eigen::Array<Scalar, Eigen::Dynamic, 1>> sums(memory.data(), d_scores.rows() + d_scores.cols() - 1);
  sums.setZero();
  for (Index j = 0; j < d_scores.cols(); ++j)
    sums.segment(d_scores.cols() - 1 - j, d_scores.rows()) += d_scores.col(j).array();
  for (Index i = 0; i < sums.size(); ++i) add(first + i, sums[i]);
}

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
