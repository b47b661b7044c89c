// Dropout of attention weights. Draws are addressed by position: the backward draws the same mask again, so it is never
// stored.
#pragma once

#include "eigenformer/core/detail/compiled.hpp"
#include "eigenformer/core/rng.hpp"
#include "eigenformer/kernels/attention_options.hpp"
#include "eigenformer/kernels/scores/score.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

/// Drops attention weights at random.
///
/// A weight is dropped with probability round(2^32 rate) / 2^32, at most 1 - 2^-32. The others are divided by the
/// probability of not being dropped, so the expectation is the same as without dropout.
///
/// Four consecutive keys share a word of 32 random bits. Each uses the whole word, rotated so that a different byte
/// leads. The bits after the leading byte are shared with the other keys, but matter only if the leading byte equals
/// the threshold's, once in 256 draws. So the draws of one word are almost independent. The draws of two keys have a
/// correlation below 0.005 for rates from 1e-6 to 1 - 1e-6, and 0 for rates that are multiples of 1/256.
class AttentionDropout {
 public:
  AttentionDropout(double rate, RandomKey key) : threshold_(word_threshold(rate)), key_(key) {}
  /// Throws if dropout is on without a key: every call would drop the same weights.
  explicit AttentionDropout(const AttentionOptions& options)
      : AttentionDropout(options.dropout, options.dropout_key.value_or(RandomKey())) {
    check(!active() || options.dropout_key.has_value(), "attention: dropout is ", options.dropout,
          " without a dropout_key, expected one, such as rng.split()");
  }

  bool active() const { return threshold_ > 0; }

  /// Drops weights of a tile, and scales the others, in place. weights: [queries x keys], with the given strides.
  template <class Scalar>
  void apply(const ScoreTile& tile, Scalar* weights, Index query_stride, Index key_stride) const;

 private:
  // Queries whose draws are computed together. The ten rounds of Philox form one chain of dependencies, so with AVX-512
  // 48 lanes take no longer than 16.
  // Measured: AVX-512: 87 % of the plain kernel's speed with 48 lanes, 76 % with 16.
  static constexpr Index max_lanes = 48;
  template <std::size_t lanes>
  using Draws = std::array<std::array<std::uint32_t, lanes>, 4>;

  /// Drops weights of a tile with at most `lanes` queries.
  template <std::size_t lanes, class Scalar>
  void apply_to_some(const ScoreTile& tile, Scalar* weights, Index query_stride, Index key_stride) const {
    const Index queries = tile.query_end - tile.query_begin, keys = tile.key_end - tile.key_begin;
    for (Index j = 0, end = 0; j < keys; j = end) {
      const Index key = tile.key_begin + j;
      end = std::min<Index>(keys, j + 16 - key % 16);
      const Draws<lanes> draws = detail::draw(key_, blocks_of<lanes>(tile, key));
      drop<Scalar>(draws, key % 16, end - j, queries, {weights + j * key_stride, query_stride, key_stride});
    }
  }

  /// Returns, for each query of the tile, the number of the block of draws that contains `key`. A block has the draws
  /// of 16 keys. Its number consists of the head (14 bits), the query's row (30) and key / 16 (20).
  template <std::size_t lanes>
  static std::array<std::uint64_t, lanes> blocks_of(const ScoreTile& tile, Index key) {
    std::array<std::uint64_t, lanes> blocks;
    const auto row = static_cast<std::uint64_t>(tile.first_row + tile.query_begin);
    const std::uint64_t first = (static_cast<std::uint64_t>(tile.head) << 50) | static_cast<std::uint64_t>(key / 16);
    for (std::size_t l = 0; l < lanes; ++l) blocks[l] = first | ((row + l) << 20);
    return blocks;
  }

  /// Weights [queries x keys], with any strides.
  template <class Scalar>
  struct Weights {
    Scalar* data;
    Index query_stride;
    Index key_stride;
  };

  /// Applies draws to the weights of `queries` queries and `keys` keys. first: place of the first key in its block of
  /// 16.
  template <class Scalar, std::size_t lanes>
  EIGEN_DONT_INLINE void drop(const Draws<lanes>& draws, Index first, Index keys, Index queries,
                              Weights<Scalar> weights) const {
    const std::uint32_t threshold = threshold_;
    const auto kept = kept_factor<Scalar>(threshold);
    for (Index j = 0; j < keys; ++j) {
      const auto place = static_cast<std::size_t>(first + j);
      const std::uint32_t* words = draws[place / 4].data();
      const auto leading = static_cast<std::uint32_t>(24 - 8 * (place % 4));
      const auto drop_one = [=](Index l, Scalar& weight) {
        weight *= rotate_left(words[l], leading) < threshold ? Scalar(0) : kept;
      };
      Scalar* column = weights.data + j * weights.key_stride;
      Index begin = 0;
      if (weights.query_stride == 1)
        for (constexpr Index step = simd::lanes<Scalar>; begin + step <= queries; begin += step) {
          EIGENFORMER_VECTORISE
          for (Index l = begin; l < begin + step; ++l) drop_one(l, column[l]);
        }
      for (Index l = begin; l < queries; ++l) drop_one(l, column[l * weights.query_stride]);
    }
  }

  std::uint32_t threshold_;
  RandomKey key_;
};

template <class Scalar>
void AttentionDropout::apply(const ScoreTile& tile, Scalar* weights, Index query_stride, Index key_stride) const {
  const Index queries = tile.query_end - tile.query_begin;
  for (Index i = 0; i < queries; i += max_lanes) {
    const Index left = std::min<Index>(max_lanes, queries - i);
    ScoreTile part = tile;
    part.query_begin += i;
    part.query_end = part.query_begin + left;
    if (left > max_lanes / 2)
      apply_to_some<max_lanes>(part, weights + i * query_stride, query_stride, key_stride);
    else
      apply_to_some<max_lanes / 2>(part, weights + i * query_stride, query_stride, key_stride);
  }
}

EIGENFORMER_FLOAT(void AttentionDropout::apply(const ScoreTile&, float*, Index, Index) const);
EIGENFORMER_DOUBLE(void AttentionDropout::apply(const ScoreTile&, double*, Index, Index) const);

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
