// What biases that depend on the distance of query and key have in common: along a diagonal of the scores they are one
// number, so a tile of [queries x keys] needs queries + keys - 1 of them.
#pragma once

#include "eigenformer/kernels/detail/attention/score_packets.hpp"
#include "eigenformer/kernels/detail/attention/tile_memory.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

/// to += from. Not Eigen's sum of segments, which would be compiled anew wherever it stands.
template <class Scalar>
EIGEN_DONT_INLINE void add_entries(Index count, const Scalar* from, Scalar* to) {
  constexpr Index lanes = simd::lanes<Scalar>;
  Index i = 0;
  for (; i + lanes <= count; i += lanes) simd::store(to + i, simd::add(simd::load(to + i), simd::load(from + i)));
  for (; i < count; ++i) to[i] += from[i];
}

/// Adds biases to scores: see add_bias.
template <class Scalar>
EIGEN_DONT_INLINE void add_biases(Index count, const Scalar* biases, Scalar* scores) {
  constexpr Index lanes = simd::lanes<Scalar>;
  Index i = 0;
  for (; i + lanes <= count; i += lanes)
    simd::store(scores + i, biased<Scalar>(simd::load(scores + i), simd::load(biases + i)));
  for (; i < count; ++i) add_bias(biases[i], scores[i]);
}

/// Adds bias(distance) to each score, where distance = position of the query - position of the key.
/// `past`: position of the sequence's first query.
template <class Scalar, class Bias>
void add_distance_bias(const ScoreTile& tile, Index past, ScoreBlock<Scalar> scores, Bias bias) {
  const Index first = past + tile.query_begin - (tile.key_end - 1);  // distance of the first query and the last key
  const Index queries = scores.rows(), keys = scores.cols();
  const TileMemory<Scalar> biases(queries + keys);
  for (Index i = 0; i < queries + keys - 1; ++i) biases.data()[i] = bias(first + i);
  for (Index j = 0; j < keys; ++j)
    add_biases<Scalar>(queries, biases.data() + keys - 1 - j, scores.data() + j * scores.outerStride());
}

/// Calls add(distance, sum of d_scores along that diagonal).
template <class Scalar, class Add>
void sum_distances(const ScoreTile& tile, Index past, ScoreBlock<Scalar> d_scores, Add add) {
  const Index first = past + tile.query_begin - (tile.key_end - 1);
  const Index queries = d_scores.rows(), keys = d_scores.cols();
  const TileMemory<Scalar> sums(queries + keys);
  std::fill_n(sums.data(), queries + keys, Scalar(0));
  for (Index j = 0; j < keys; ++j)
    add_entries<Scalar>(queries, d_scores.data() + j * d_scores.outerStride(), sums.data() + keys - 1 - j);
  for (Index i = 0; i < queries + keys - 1; ++i) add(first + i, sums.data()[i]);
}

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
