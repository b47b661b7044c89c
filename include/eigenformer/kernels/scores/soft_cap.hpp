// Bounds scores by a smooth cap (Bello et al. 2017, arXiv 1611.09940; Gemma 2: arXiv 2408.00118, section 2).
#pragma once

#include <limits>

#include "eigenformer/core/detail/tanh.hpp"
#include "eigenformer/kernels/detail/attention/score_packets.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// Replaces each score s by cap * tanh(s / cap), before any bias and mask.
class SoftCap {
 public:
  static constexpr ScoreStage stage = ScoreStage::cap;
  static constexpr int saved_blocks = 1;  // tanh(s / cap)

  /// Throws unless cap is above 0 and a normal number of float. With any other cap, s * (1 / cap) or tanh(s / cap) *
  /// cap may be infinity times 0, which is NaN.
  explicit SoftCap(double cap) : cap_(cap) {
    using Limits = std::numeric_limits<float>;
    check(cap >= static_cast<double>((Limits::min)()) && cap <= static_cast<double>((Limits::max)()),
          "SoftCap: cap is ", cap, ", expected a normal float above 0");
  }

  double cap() const { return cap_; }

  Visible visible(const ScoreTile&) const { return Visible::all; }

  template <class Scalar>
  void apply(const ScoreTile&, ScoreBlock<Scalar> scores) const {
    const auto cap = static_cast<Scalar>(cap_);
    detail::change_packets([=](const auto& s) { return simd::multiply(tanh_of(s, 1 / cap), simd::broadcast(cap)); },
                           scores);
  }

  template <class Scalar>
  void apply(const ScoreTile&, ScoreBlock<Scalar> scores, ScoreBlock<Scalar> saved) const {
    const auto cap = static_cast<Scalar>(cap_);
    saved = scores;
    detail::change_packets([=](const auto& s) { return tanh_of(s, 1 / cap); }, saved);
    detail::change_packets([=](const auto&, const auto& tanh) { return simd::multiply(tanh, simd::broadcast(cap)); },
                           scores, saved);
  }

  /// Multiplies d_scores by the derivative, 1 - tanh(s / cap)^2.
  template <class Scalar>
  void apply_backward(const ScoreTile&, ScoreBlock<Scalar> saved, ScoreBlock<Scalar> d_scores) const {
    detail::change_packets(
        [](const auto& d, const auto& tanh) {
          return simd::multiply(d, simd::subtract(simd::broadcast(Scalar(1)), simd::multiply(tanh, tanh)));
        },
        d_scores, saved);
  }

  friend bool operator==(const SoftCap&, const SoftCap&) = default;

 private:
  template <class Scalar, class P>
  EIGEN_ALWAYS_INLINE static P tanh_of(const P& score, Scalar factor) {
    return simd::tanh<Scalar>(simd::multiply(score, simd::broadcast(factor)));
  }

  double cap_;
};

}  // namespace eigenformer::inline EIGENFORMER_ABI
