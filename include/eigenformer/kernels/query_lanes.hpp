// A block of queries that attends with one query a lane.
//
// A register holds one key's scores, or one value feature's results, for as many queries as it has lanes: the kernel
// works on S^T = K Q^T and O^T = V^T P^T. Keys and values are broadcast entry by entry from where they lie, so only the
// queries are ever transposed; and the largest score, the sum, the rescaling and the exponential are lane by lane, with
// no sum across a register. Queries in different lanes never meet: what one gets does not depend on its neighbours.
#pragma once

#include <array>
#include <cmath>

#include "eigenformer/kernels/product.hpp"
#include "eigenformer/kernels/score.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

/// Queries of a block: as wide as the dense product's panel, whose register tile both products are.
template <class Scalar>
inline constexpr Index block_queries = panel_width<Scalar>;

/// What scores are multiplied by so that 2 to their power is what e to their power was. It is part of the scale where
/// nothing looks at the scores, so that the softmax need not multiply each by it.
template <class Scalar>
inline constexpr auto log2_e = static_cast<Scalar>(1.44269504088896340736);

/// The softmax of a block's queries over the keys so far, online (Milakov and Gimelshein 2018, arXiv 1805.02867; Dao et
/// al. 2022, arXiv 2205.14135), with n = block_queries. All matrices have n columns and contiguous rows.
/// in_base_2: scores come multiplied by log2_e.
template <class Scalar, bool in_base_2>
class OnlineSoftmax {
 public:
  /// Turns scores [keys x n] into weights relative to the largest score, and brings what was summed before to the same.
  /// results: [width x n], the sums of weighted values.
  EIGEN_DONT_INLINE void add(Index keys, Scalar* scores, Index width, Scalar* results) {
    P top[2][2];  // of even and odd keys: two chains of comparisons a register
    simd::unroll<2>([&](auto l) { top[0][l] = top[1][l] = simd::load(scores + l * lanes); });
    Index j = 1;
    for (; j + 2 <= keys; j += 2)
      simd::unroll<2>([&](auto odd) {
        simd::unroll<2>(
            [&](auto l) { top[odd][l] = simd::max(simd::load(scores + (j + odd) * n + l * lanes), top[odd][l]); });
      });
    if (j < keys)
      simd::unroll<2>([&](auto l) { top[0][l] = simd::max(simd::load(scores + j * n + l * lanes), top[0][l]); });

    P shift[2];
    bool any_grew = false;
    P factor[2];
    simd::unroll<2>([&](auto l) {
      const P before = simd::load(largest_.data() + l * lanes);
      const P now = simd::max(top[0][l], top[1][l]);
      const P limit = simd::add(before, simd::broadcast(slack));
      const P largest = simd::select_less(limit, now, now, before);
      factor[l] = power(simd::select_less(limit, now, simd::subtract(before, largest), simd::broadcast(Scalar(0))));
      shift[l] = shift_of(largest);
      simd::store(largest_.data() + l * lanes, largest);
      any_grew = any_grew || simd::any_less<Scalar>(limit, now);
    });
    if (any_grew) {
      simd::unroll<2>([&](auto l) {
        simd::store(sum_.data() + l * lanes, simd::multiply(simd::load(sum_.data() + l * lanes), factor[l]));
      });
      for (Index i = 0; i < width; ++i)
        simd::unroll<2>([&](auto l) {
          Scalar* r = results + i * n + l * lanes;
          simd::store(r, simd::multiply(simd::load(r), factor[l]));
        });
    }

    P sum[2] = {simd::broadcast(Scalar(0)), simd::broadcast(Scalar(0))};
    for (Index key = 0; key < keys; ++key)
      simd::unroll<2>([&](auto l) {
        Scalar* x = scores + key * n + l * lanes;
        // The difference first: equal scores of any size then have equal weights, which a fused (x log2 e - shift), an
        // instruction less, does not give.
        const P weight = power(simd::subtract(simd::load(x), shift[l]));
        sum[l] = simd::add(sum[l], weight);
        simd::store(x, weight);
      });
    simd::unroll<2>(
        [&](auto l) { simd::store(sum_.data() + l * lanes, simd::add(simd::load(sum_.data() + l * lanes), sum[l])); });
  }

  /// Divides results [width x n] by the sums of weights; those of queries that saw nothing stay zero.
  EIGEN_DONT_INLINE void finish(Index width, Scalar* results) const {
    alignas(64) Scalar inverse[n];
    for (Index i = 0; i < n; ++i) inverse[i] = sum(i) == 0 ? Scalar(0) : 1 / sum(i);
    for (Index i = 0; i < width; ++i)
      simd::unroll<2>([&](auto l) {
        Scalar* r = results + i * n + l * lanes;
        simd::store(r, simd::multiply(simd::load(r), simd::load(inverse + l * lanes)));
      });
  }

  /// The logarithm of the sum of the exponentials of a query's scores; minus infinity if it saw nothing.
  Scalar log_sum_exp(Index query) const {
    if (sum(query) == 0) return hidden_score<Scalar>;
    const auto largest = static_cast<double>(largest_[static_cast<std::size_t>(query)]);
    return static_cast<Scalar>((in_base_2 ? largest / log2_e<double> : largest) +
                               std::log(static_cast<double>(sum(query))));
  }

  Scalar sum(Index query) const { return sum_[static_cast<std::size_t>(query)]; }

 private:
  using P = simd::Packet<Scalar>;
  static constexpr Index n = block_queries<Scalar>;
  static constexpr int lanes = simd::lanes<Scalar>;
  // Sums are rescaled only when the largest score has grown by more than this: weights stay under 2^8.
  static constexpr auto slack = static_cast<Scalar>(in_base_2 ? 8.0 : 5.5);

  /// The exponential of a difference of scores.
  static P power(const P& difference) {
    if constexpr (in_base_2) return simd::exp2<Scalar>(difference);
    return simd::exp2<Scalar>(simd::multiply(difference, simd::broadcast(log2_e<Scalar>)));
  }

  /// What is taken from a score: the largest, but 0 for a query that has seen nothing.
  static P shift_of(const P& largest) {
    return simd::select_less(simd::broadcast(hidden_score<Scalar>), largest, largest, simd::broadcast(Scalar(0)));
  }

  static constexpr std::array<Scalar, n> filled(Scalar value) {
    std::array<Scalar, n> all{};
    all.fill(value);
    return all;
  }

  std::array<Scalar, n> largest_ = filled(hidden_score<Scalar>);
  std::array<Scalar, n> sum_{};
};

/// Multiplies `size` entries, a multiple of block_queries.
template <class Scalar>
void scale_in_place(Scalar* x, Index size, Scalar factor) {
  for (Index i = 0; i < size; i += simd::lanes<Scalar>)
    simd::store(x + i, simd::multiply(simd::load(x + i), simd::broadcast(factor)));
}

/// Copies results [width x block_queries] to the rows of `count` queries.
template <class Scalar>
EIGEN_DONT_INLINE void store_rows(const Scalar* results, Index width, Index count, Scalar* rows, Index row_stride) {
  constexpr Index n = block_queries<Scalar>;
  constexpr Index lanes = simd::lanes<Scalar>;
  for (Index begin = 0; begin < count; begin += lanes) {
    Index f = 0;
    if (begin + lanes <= count)
      for (; f + lanes <= width; f += lanes)
        simd::transpose(results + f * n + begin, n, rows + begin * row_stride + f, row_stride);
    for (; f < width; ++f)
      for (Index i = begin; i < std::min(count, begin + lanes); ++i) rows[i * row_stride + f] = results[f * n + i];
  }
}

/// Leaves out the keys at both ends of a tile that its queries do not see, eight at a time.
template <Score S>
Visible narrow(const S& score, ScoreTile& tile) {
  constexpr Index step = 8;
  const Visible whole = score.visible(tile);
  if (whole != Visible::some) return whole;
  ScoreTile part = tile;
  for (;; tile.key_begin = part.key_end) {
    if (tile.key_begin == tile.key_end) return Visible::none;
    part.key_begin = tile.key_begin;
    part.key_end = std::min(tile.key_end, tile.key_begin + step);
    if (score.visible(part) != Visible::none) break;
  }
  for (;; tile.key_end = part.key_begin) {
    part.key_end = tile.key_end;
    part.key_begin = std::max(tile.key_begin, tile.key_end - step);
    if (score.visible(part) != Visible::none) break;
  }
  return score.visible(tile);
}

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
