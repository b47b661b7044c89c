// T5's relative position bias: a trained number for each bucket of distances and each head (Raffel et al. 2020, JMLR
// 21/140, section 2.1).
#pragma once

#include <cmath>
#include <vector>

#include "eigenformer/core/tensor.hpp"
#include "eigenformer/kernels/detail/attention/distance_bias.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// How T5 maps distances to buckets. The nearest distances have a bucket each. The other buckets are spaced evenly in
/// the logarithm of the distance. All distances from max_distance on share the last bucket.
struct RelativeBuckets {
  Index buckets = 32;
  Index max_distance = 128;
  bool bidirectional = true;  // half of the buckets are for keys after the query; else those keys get bucket 0

  /// Returns the bucket of distance = position of the query - position of the key. Does not check the options;
  /// RelativeBias does.
  Index bucket(Index distance) const {
    const Index side = bidirectional ? buckets / 2 : buckets;
    const Index first = bidirectional && distance < 0 ? side : 0;
    const Index away = bidirectional ? std::abs(distance) : std::max<Index>(distance, 0);
    const Index exact = side / 2;
    if (away < exact) return first + away;
    const double share = std::log(static_cast<double>(away) / static_cast<double>(exact)) /
                         std::log(static_cast<double>(max_distance) / static_cast<double>(exact));
    return first + std::min<Index>(side - 1, exact + static_cast<Index>(share * static_cast<double>(side - exact)));
  }
};

/// Adds weights(bucket of the distance, head) to each score. Holds views: the weights must outlive it. Attention throws
/// unless it has as many heads as the weights.
template <class Scalar>
class RelativeBias {
 public:
  static constexpr ScoreStage stage = ScoreStage::bias;
  static constexpr bool sequences_share_gradient = true;

  /// weights: [buckets x heads]. If d_weights is given, it has the shape of weights and the backward adds to it. Throws
  /// if the buckets are not valid or shapes do not fit.
  explicit RelativeBias(const TensorView<const Scalar>& weights, const RelativeBuckets& buckets = {},
                        const TensorView<Scalar>& d_weights = {})
      : weights_(weights), d_weights_(d_weights), max_distance_(buckets.max_distance) {
    const Index least = buckets.bidirectional ? 4 : 2, exact = buckets.buckets / least;
    check(exact >= 1, "RelativeBias: buckets is ", buckets.buckets, ", expected at least ", least);
    check(buckets.max_distance > exact, "RelativeBias: max_distance is ", buckets.max_distance, ", expected more than ",
          exact, ", the number of distances with a bucket of their own");
    check(buckets.max_distance <= largest_max_distance, "RelativeBias: max_distance is ", buckets.max_distance,
          ", expected at most ", largest_max_distance);
    check(weights.rank() == 2, "RelativeBias: weights are ", weights.shape(), ", expected [buckets x heads]");
    check(weights.dimension(0) == buckets.buckets, "RelativeBias: weights have ", weights.dimension(0),
          " rows, expected ", buckets.buckets, ", one per bucket");
    if (d_weights.data() != nullptr) detail::check_writable(d_weights);
    check(d_weights.data() == nullptr || d_weights.shape() == weights.shape(), "RelativeBias: d_weights are ",
          d_weights.shape(), ", weights are ", weights.shape());
    for (Index distance = -max_distance_; distance <= max_distance_; ++distance)
      bucket_.push_back(buckets.bucket(distance));
  }

  /// Returns a copy that aligns the last query with the last key, for keys that include earlier tokens (a cache).
  RelativeBias after_past() const {
    RelativeBias copy = *this;
    copy.alignment_ = Alignment::after_past();
    return copy;
  }
  /// Returns a copy that aligns the first query of sequence s with key offsets[s]. The offsets must outlive the score.
  RelativeBias with_offsets(std::span<const Index> offsets) const {
    RelativeBias copy = *this;
    copy.alignment_ = Alignment::with_offsets(offsets);
    return copy;
  }

  void check_covers(const ScoreTile& batch) const {
    alignment_.check_covers(batch);
    check(batch.head + 1 == weights_.dimension(1), "attention: RelativeBias has weights for ", weights_.dimension(1),
          " heads, expected ", batch.head + 1);
  }

  Visible visible(const ScoreTile&) const { return Visible::all; }

  void apply(const ScoreTile& tile, ScoreBlock<Scalar> scores) const {
    detail::add_distance_bias(tile, alignment_.first_query(tile), scores,
                              [&](Index distance) { return weights_(bucket(distance), tile.head); });
  }

  void apply_backward(const ScoreTile& tile, ScoreBlock<Scalar> d_scores) const {
    if (d_weights_.data() == nullptr) return;
    detail::sum_distances(tile, alignment_.first_query(tile), d_scores,
                          [&](Index distance, Scalar sum) { d_weights_(bucket(distance), tile.head) += sum; });
  }

 private:
  static constexpr Index largest_max_distance = Index{1} << 20;  // bounds the size of bucket_

  Index bucket(Index distance) const {
    return bucket_[static_cast<std::size_t>(std::clamp(distance, -max_distance_, max_distance_) + max_distance_)];
  }

  TensorView<const Scalar> weights_;
  TensorView<Scalar> d_weights_;
  Index max_distance_;
  std::vector<Index> bucket_;  // bucket of each distance from -max_distance to max_distance
  Alignment alignment_;
};

}  // namespace eigenformer::inline EIGENFORMER_ABI
