// The softmax of a single query over tiles of keys, one key per lane.
#pragma once

#include <cmath>

#include "eigenformer/core/detail/exp2.hpp"
#include "eigenformer/core/detail/fast_math.hpp"
#include "eigenformer/kernels/detail/attention/call.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

/// The online softmax of one query over the keys so far: see OnlineSoftmax.
template <class Scalar, bool in_base_2>
class RowSoftmax {
 public:
  /// Turns the scores of a tile, padded to whole packets, into weights relative to the largest score so far, and
  /// rescales result [width] to match.
  EIGEN_DONT_INLINE void add(Index keys, Scalar* scores, Index width, Scalar* result) {
    P top = simd::load(scores);
    for (Index j = lanes; j < keys; j += lanes) top = simd::maximum(simd::load(scores + j), top);
    const Scalar now = simd::max_of_lanes<Scalar>(top);
    if (now > largest_) {
      const auto factor = static_cast<Scalar>(std::exp2((largest_ - now) * unit));  // 0 at first
      sum_ *= factor;
      for (Index f = 0; f < width; ++f) result[f] *= factor;
      largest_ = now;
    }
    const P shift = simd::broadcast(is_minus_infinity(largest_) ? Scalar(0) : largest_);
    P total = simd::broadcast(Scalar(0));
    for (Index j = 0; j < keys; j += lanes) {
      P difference = simd::subtract(simd::load(scores + j), shift);
      if constexpr (!in_base_2) difference = simd::multiply(difference, simd::broadcast(unit));
      const P weight = simd::exp2<Scalar>(difference);
      total = simd::add(total, weight);
      simd::store(scores + j, weight);
    }
    sum_ += simd::sum_of_lanes<Scalar>(total);
  }

  /// Returns the sum of the weights.
  Scalar sum() const { return sum_; }
  /// Returns the log-sum-exp of the scores; minus infinity if all keys were hidden.
  Scalar log_sum_exp() const {
    if (sum_ == 0) return hidden_score<Scalar>;
    const double largest = static_cast<double>(largest_) * static_cast<double>(unit) / log2_e<double>;
    return static_cast<Scalar>(largest + std::log(static_cast<double>(sum_)));
  }

 private:
  using P = simd::Packet<Scalar>;
  static constexpr Index lanes = simd::lanes<Scalar>;
  static constexpr Scalar unit = in_base_2 ? Scalar(1) : log2_e<Scalar>;  // a weight is 2^(unit * score)

  Scalar largest_ = hidden_score<Scalar>;
  Scalar sum_ = 0;
};

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
