// Loops over a tile of scores, packet by packet.
#pragma once

#include <algorithm>
#include <array>
#include <limits>

#include "eigenformer/core/simd.hpp"
#include "eigenformer/kernels/scores/score.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

/// Replaces each score of `to` by change(score, the entries of `from` at its place), packet by packet. All scores go
/// through the same formula for packets, so that no result depends on a score's neighbours.
template <class Scalar, class Change, class... Blocks>
void change_packets(Change change, ScoreBlock<Scalar> to, const Blocks&... from) {
  constexpr Index lanes = simd::lanes<Scalar>;
  const bool has_gaps = to.outerStride() != to.rows() || (... || (from.outerStride() != from.rows()));
  const Index columns = has_gaps ? to.cols() : 1, entries = has_gaps ? to.rows() : to.size();
  const Index whole = entries / lanes * lanes, rest = entries - whole;
  const auto column = [](ScoreBlock<Scalar> block, Index j) { return block.data() + j * block.outerStride(); };
  for (Index j = 0; j < columns; ++j)
    for (Index i = 0; i < whole; i += lanes)
      simd::store(column(to, j) + i, change(simd::load(column(to, j) + i), simd::load(column(from, j) + i)...));
  if (rest == 0) return;
  // The remainders of several columns share a packet. With few queries, all scores are remainders.
  const Index together = lanes / rest;
  for (Index first = 0; first < columns; first += together) {
    const Index count = std::min<Index>(together, columns - first);
    std::array<Scalar, lanes> all{};
    const auto gather = [&](ScoreBlock<Scalar> block) {
      for (Index j = 0; j < count; ++j) std::copy_n(column(block, first + j) + whole, rest, all.data() + j * rest);
      return simd::load(all.data());
    };
    simd::store(all.data(), change(gather(to), gather(from)...));
    for (Index j = 0; j < count; ++j) std::copy_n(all.data() + j * rest, rest, column(to, first + j) + whole);
  }
}

/// Hides all scores outside a diagonal band. Query i of the tile sees the keys first + i to last + i of the sequence,
/// inclusive. Visits only packets in which some score is hidden.
template <class Scalar>
void hide_outside_band(const ScoreTile& tile, Index first, Index last, ScoreBlock<Scalar> scores) {
  constexpr Index lanes = simd::lanes<Scalar>;
  const Index queries = scores.rows(), keys = scores.cols(), stride = scores.outerStride();
  const Index whole = queries / lanes * lanes;
  first -= tile.key_begin;
  last -= tile.key_begin;
  const auto hidden = simd::broadcast(hidden_score<Scalar>);
  const auto zero = simd::broadcast(Scalar(0)), one = simd::broadcast(Scalar(1));
  for (Index i = 0; i < whole; i += lanes) {
    Scalar* const packet = scores.data() + i;
    Index key = std::clamp<Index>(last + i + 1, 0, keys);
    auto left = simd::count_from(static_cast<Scalar>(last + i - key));  // keys from `key` to each query's last
    for (; key < keys; ++key) {
      simd::store(packet + key * stride, simd::select_less(left, zero, hidden, simd::load(packet + key * stride)));
      left = simd::subtract(left, one);
    }
    const Index end = std::clamp<Index>(first + i + lanes - 1, 0, keys),
                all_until = std::clamp<Index>(first + i, 0, end);
    for (key = 0; key < all_until; ++key) simd::store(packet + key * stride, hidden);
    auto missing = simd::count_from(static_cast<Scalar>(first + i - key));  // keys from `key` to each query's first
    for (; key < end; ++key) {
      simd::store(packet + key * stride, simd::select_less(zero, missing, hidden, simd::load(packet + key * stride)));
      missing = simd::subtract(missing, one);
    }
  }
  for (Index i = whole; i < queries; ++i) {
    const Index begin = std::clamp<Index>(first + i, 0, keys);
    const Index end = std::clamp<Index>(last + i + 1, begin, keys);
    scores.row(i).head(begin).setConstant(hidden_score<Scalar>);
    scores.row(i).tail(keys - end).setConstant(hidden_score<Scalar>);
  }
}

/// Returns score + bias. A bias of minus infinity hides any score, even an infinite or NaN one.
template <class Scalar>
EIGEN_ALWAYS_INLINE simd::Packet<Scalar> biased(const simd::Packet<Scalar>& score, const simd::Packet<Scalar>& bias) {
  return simd::select_less(bias, simd::broadcast(std::numeric_limits<Scalar>::lowest()),
                           simd::broadcast(hidden_score<Scalar>), simd::add(score, bias));
}
/// Adds a bias to a score. A bias of minus infinity hides any score, even an infinite or NaN one.
template <class Scalar>
void add_bias(const Scalar& bias, Scalar& score) {
  score = bias == hidden_score<Scalar> ? bias : score + bias;
}

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
