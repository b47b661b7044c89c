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
  void apply(const ScoreTile& tile, Weights& weights) const {
    using Scalar = typename Weights::Scalar;
    const Scalar kept = Scalar(256) / static_cast<Scalar>(256 - threshold_);
    for (Index i = 0; i < weights.rows(); ++i) {
      // 16 keys a block of draws. A block's number holds the head (14 bits), the query's row (30) and the keys (20).
      const auto row = static_cast<std::uint64_t>(tile.first_row + tile.query_begin + i);
      const std::uint64_t base = (static_cast<std::uint64_t>(tile.head) << 50) | (row << 20);
      for (Index j = 0; j < weights.cols();) {
        const auto key = static_cast<std::uint64_t>(tile.key_begin + j);
        const std::array<std::uint32_t, 4> draws = key_.draw(base + key / 16);
        const auto first = static_cast<Index>(key % 16);
        const Index end = std::min<Index>(16, first + weights.cols() - j);
        for (Index l = first; l < end; ++l, ++j) {
          const std::uint32_t draw = (draws[static_cast<std::size_t>(l / 4)] >> (8 * (l % 4))) & 255U;
          weights(i, j) = draw < threshold_ ? Scalar(0) : weights(i, j) * kept;
        }
      }
    }
  }

 private:
  std::uint32_t threshold_;
  RandomKey key_;
};

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
