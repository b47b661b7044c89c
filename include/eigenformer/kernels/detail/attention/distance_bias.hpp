// Helpers for biases that depend on the distance between query and key. Such a bias is constant along a diagonal of the
// scores, so a tile [queries x keys] needs only queries + keys - 1 biases.
#pragma once

#include "eigenformer/kernels/detail/attention/score_packets.hpp"
#include "eigenformer/kernels/detail/tile_memory.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

/// Adds `count` entries of `from` to `to`. Replaces Eigen's sum of segments, which would be compiled again for every
/// use.
template <class Scalar>
EIGEN_DONT_INLINE void add_entries(Index count, const Scalar* from, Scalar* to) {
  constexpr Index lanes = simd::lanes<Scalar>;
  Index i = 0;
  for (; i + lanes <= count; i += lanes) simd::store(to + i, simd::add(simd::load(to + i), simd::load(from + i)));
  for (; i < count; ++i) to[i] += from[i];
}

/// Adds `count` biases to as many scores. A bias of minus infinity hides its score: see add_bias.
template <class Scalar>
EIGEN_DONT_INLINE void add_biases(Index count, const Scalar* biases, Scalar* scores) {
  constexpr Index lanes = simd::lanes<Scalar>;
  Index i = 0;
  for (; i + lanes <= count; i += lanes)
    simd::store(scores + i, biased<Scalar>(simd::load(scores + i), simd::load(biases + i)));
  for (; i < count; ++i) add_bias(biases[i], scores[i]);
}

/// Adds bias(distance) to each score. distance: position of the query - position of the key. past: position of the
/// sequence's first query.
template <class Scalar, class Bias>
void add_distance_bias(const ScoreTile& tile, Index past, ScoreBlock<Scalar> scores, Bias bias) {
  const Index first = past + tile.query_begin - (tile.key_end - 1);  // from the last key to the first query
  const Index queries = scores.rows(), keys = scores.cols();
  const TileMemory<Scalar> biases(queries + keys);
  for (Index i = 0; i < queries + keys - 1; ++i) biases.data()[i] = bias(first + i);
  for (Index j = 0; j < keys; ++j)
    add_biases<Scalar>(queries, biases.data() + keys - 1 - j, scores.data() + j * scores.outerStride());
}

/// Calls add(distance, sum) for each diagonal of a tile, with the sum of d_scores along it. past: position of the
/// sequence's first query.
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
