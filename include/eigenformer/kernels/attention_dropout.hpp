// Dropout of attention weights, drawn by position: the backward draws the same mask again, so it is never stored.
#pragma once

#include "eigenformer/core/rng.hpp"
#include "eigenformer/kernels/score.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

/// Weights are dropped with probability round(256 * rate) / 256 (at most 255 / 256), which 8 bits a draw can give, and
/// those kept are divided by the probability of being kept, so the expectation is that of no dropout.
class AttentionDropout {
 public:
  AttentionDropout(double rate, RandomKey key)
      : threshold_(static_cast<std::uint32_t>(std::min(std::lround(rate * 256), 255L))), key_(key) {}

  bool active() const { return threshold_ > 0; }

  /// weights: [queries x keys] of the tile.
  template <class Weights>
  EIGEN_DONT_INLINE void apply(const ScoreTile& tile, Weights& weights) const {
    using Scalar = typename Weights::Scalar;
    const Scalar kept = Scalar(256) / static_cast<Scalar>(256 - threshold_);
    for (Index i = 0; i < weights.rows(); i += lanes)
      for (Index j = 0; j < weights.cols();) {
        const Index key = tile.key_begin + j;
        const auto draws = detail::draw(key_, blocks_of(tile, i, key));
        const Index end = std::min(weights.cols(), j + 16 - key % 16);
        const Index queries = std::min<Index>(lanes, weights.rows() - i);
        for (; j < end; ++j) {
          const auto place = static_cast<std::size_t>((tile.key_begin + j) % 16);
          const auto& words = draws[place / 4];
          const auto shift = static_cast<int>(8 * (place % 4));
          const auto drop = [&](Index l, Scalar& weight) {
            weight = ((words[static_cast<std::size_t>(l)] >> shift) & 255U) < threshold_ ? Scalar(0) : weight * kept;
          };
          Scalar* column = &weights.coeffRef(i, j);
          if (queries == lanes && weights.rowStride() == 1)
            for (Index l = 0; l < lanes; ++l) drop(l, column[l]);  // a number of turns that is known is vectorised
          else
            for (Index l = 0; l < queries; ++l) drop(l, weights.coeffRef(i + l, j));
        }
      }
  }

 private:
  static constexpr Index lanes = 16;  // queries whose draws are made together

  /// The blocks of draws, 16 keys each, of some queries at a key. A block's number holds the head (14 bits), the
  /// query's row (30) and the keys (20).
  static std::array<std::uint64_t, lanes> blocks_of(const ScoreTile& tile, Index query, Index key) {
    std::array<std::uint64_t, lanes> blocks;
    const auto row = static_cast<std::uint64_t>(tile.first_row + tile.query_begin + query);
    const std::uint64_t first = (static_cast<std::uint64_t>(tile.head) << 50) | static_cast<std::uint64_t>(key / 16);
    for (std::size_t l = 0; l < lanes; ++l) blocks[l] = first | ((row + l) << 20);
    return blocks;
  }

  std::uint32_t threshold_;
  RandomKey key_;
};

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
