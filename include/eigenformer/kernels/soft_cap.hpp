// Scores bounded by a smooth cap (Bello et al. 2017, arXiv 1611.09940; Gemma 2: arXiv 2408.00118, section 2).
#pragma once

#include "eigenformer/kernels/score.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// A score s becomes cap * tanh(s / cap), before any bias and mask.
class SoftCap {
 public:
  static constexpr ScoreStage stage = ScoreStage::cap;

  /// Throws unless cap > 0.
  explicit SoftCap(double cap) : cap_(cap) { check(cap > 0, "SoftCap: cap is ", cap, ", expected more than 0"); }

  double cap() const { return cap_; }

  Visible visible(const ScoreTile&) const { return Visible::all; }

  template <class Scalar>
  void apply(const ScoreTile&, ScoreBlock<Scalar> scores) const {
    const auto cap = static_cast<Scalar>(cap_);
    scores = (scores.array() * (1 / cap)).tanh() * cap;
  }

  /// d tanh(x) = 1 - tanh(x)^2.
  template <class Scalar>
  void apply_backward(const ScoreTile&, ScoreBlock<Scalar> scores, ScoreBlock<Scalar> d_scores) const {
    d_scores.array() *= 1 - (scores.array() * (1 / static_cast<Scalar>(cap_))).tanh().square();
  }

  friend bool operator==(const SoftCap&, const SoftCap&) = default;

 private:
  double cap_;
};

}  // namespace eigenformer::inline EIGENFORMER_ABI
