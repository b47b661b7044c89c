// Attention with linear biases (Press et al. 2021, arXiv 2108.12409).
#pragma once

#include <cmath>
#include <vector>

#include "eigenformer/kernels/detail/attention/distance_bias.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// Subtracts slope * |query - key| from each score, with one slope per head. With Causal this is the paper's method;
/// without it, keys on both sides are treated alike. Attention throws unless it has as many heads.
class Alibi {
 public:
  static constexpr ScoreStage stage = ScoreStage::bias;

  /// Uses the paper's slopes. If the number of heads is a power of two, they are 2^(-8/heads), 2^(-16/heads), ..
  /// Otherwise they are the slopes of the next lower power of two, then every other slope of the next higher one.
  /// Throws if heads < 1.
  explicit Alibi(Index heads) {
    check(heads >= 1, "Alibi: heads is ", heads, ", expected 1 or more");
    Index power = 1;
    while (2 * power <= heads) power *= 2;
    for (Index h = 0; h < power; ++h)
      slopes_.push_back(std::exp2(-8.0 * static_cast<double>(h + 1) / static_cast<double>(power)));
    for (Index h = 0; h < heads - power; ++h)
      slopes_.push_back(std::exp2(-4.0 * static_cast<double>(2 * h + 1) / static_cast<double>(power)));
  }
  /// Uses these slopes, one per head.
  explicit Alibi(std::vector<double> slopes) : slopes_(std::move(slopes)) {}

  /// Returns a copy that aligns the last query with the last key, for keys that include earlier tokens (a cache).
  Alibi after_past() const {
    Alibi copy = *this;
    copy.alignment_ = Alignment::after_past();
    return copy;
  }
  /// Returns a copy that aligns the first query of sequence s with key offsets[s]. The offsets must outlive the score.
  Alibi with_offsets(std::span<const Index> offsets) const {
    Alibi copy = *this;
    copy.alignment_ = Alignment::with_offsets(offsets);
    return copy;
  }

  const std::vector<double>& slopes() const { return slopes_; }

  void check_covers(const ScoreTile& batch) const {
    alignment_.check_covers(batch);
    check(batch.head + 1 == static_cast<Index>(slopes_.size()), "attention: Alibi has ", slopes_.size(),
          " slopes, expected ", batch.head + 1);
  }

  Visible visible(const ScoreTile&) const { return Visible::all; }

  template <class Scalar>
  void apply(const ScoreTile& tile, ScoreBlock<Scalar> scores) const {
    const auto slope = static_cast<Scalar>(slopes_[static_cast<std::size_t>(tile.head)]);
    detail::add_distance_bias(tile, alignment_.first_query(tile), scores,
                              [&](Index distance) {  // 0 times an infinite slope would be NaN
                                return distance == 0 ? Scalar(0) : -slope * static_cast<Scalar>(std::abs(distance));
                              });
  }

 private:
  std::vector<double> slopes_;
  Alignment alignment_;
};

}  // namespace eigenformer::inline EIGENFORMER_ABI
