// Several scores as one.
#pragma once

#include <array>
#include <tuple>

#include "eigenformer/kernels/score.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// What combine() gives: its scores stand in the order in which they are applied.
template <Score... Scores>
class CombinedScore {
 public:
  static constexpr ScoreStage stage = std::min({Scores::stage...});
  static constexpr bool heads_share_gradient = (detail::heads_share_gradient<Scores>() || ...);
  static constexpr bool sequences_share_gradient = (detail::sequences_share_gradient<Scores>() || ...);
  static constexpr bool reads_rows_of_keys = (detail::reads_rows_of_keys<Scores>() || ...);

  explicit CombinedScore(const std::tuple<Scores...>& scores) : scores_(scores) {}

  const std::tuple<Scores...>& scores() const { return scores_; }

  void check_covers(const ScoreTile& batch) const {
    for_each([&](const auto& score) { detail::check_covers(score, batch); });
  }

  Visible visible(const ScoreTile& tile) const {
    Visible least = Visible::all;
    for_each([&](const auto& score) {
      if (least != Visible::none) least = std::min(least, score.visible(tile));
    });
    return least;
  }

  template <class Scalar>
  void apply(const ScoreTile& tile, ScoreBlock<Scalar> scores) const {
    for_each([&](const auto& score) { apply_one(score, tile, scores); });
  }

  template <class Scalar>
  void apply_backward(const ScoreTile& tile, ScoreBlock<Scalar> scores, ScoreBlock<Scalar> d_scores) const
      requires(detail::has_derivative<Scores, Scalar> || ...) {
    differentiate<0>(tile, scores, d_scores);
  }

 private:
  static constexpr std::size_t count = sizeof...(Scores);
  template <class Scalar>
  static constexpr std::array<bool, count> differentiable = {detail::has_derivative<Scores, Scalar>...};
  /// Whether a score after this one needs to know what this one made of the values.
  template <class Scalar>
  static constexpr bool derivative_after(std::size_t at) {
    for (std::size_t i = at + 1; i < count; ++i)
      if (differentiable<Scalar>[i]) return true;
    return false;
  }

  template <class Body>
  void for_each(Body body) const {
    std::apply([&](const auto&... score) { (body(score), ...); }, scores_);
  }

  template <class S, class Scalar>
  static void apply_one(const S& score, const ScoreTile& tile, ScoreBlock<Scalar> scores) {
    if (detail::changes_values<S> || score.visible(tile) != Visible::all) score.apply(tile, scores);
  }

  template <std::size_t at, class Scalar>
  void differentiate(const ScoreTile& tile, ScoreBlock<Scalar> scores, ScoreBlock<Scalar> d_scores) const {
    const auto& score = std::get<at>(scores_);
    if constexpr (derivative_after<Scalar>(at)) {
      Eigen::Matrix<Scalar, Eigen::Dynamic, Eigen::Dynamic> changed = scores;
      const ScoreBlock<Scalar> after(changed.data(), changed.rows(), changed.cols(),
                                     Eigen::OuterStride<>(changed.rows()));
      apply_one(score, tile, after);
      differentiate<at + 1>(tile, after, d_scores);
    }
    if constexpr (differentiable<Scalar>[at]) score.apply_backward(tile, scores, d_scores);
  }

  std::tuple<Scores...> scores_;
};

namespace detail {

template <ScoreStage stage, Score S>
auto if_of_stage(const S& score) {
  if constexpr (S::stage == stage) {
    return std::tuple<S>(score);
  } else {
    return std::tuple<>();
  }
}
template <Score S>
std::tuple<S> parts_of(const S& score) {
  return std::tuple<S>(score);
}
template <Score... Scores>
std::tuple<Scores...> parts_of(const CombinedScore<Scores...>& combined) {
  return combined.scores();
}

}  // namespace detail

/// All of several scores, in the order of their stages whatever the order of the arguments: first caps, then biases,
/// then masks; of one stage, as they are given.
///
///   auto score = combine(Causal{}, SlidingWindow(256), SoftCap(30));
template <Score... Scores>
auto combine(const Scores&... scores) {
  return std::apply(
      [](const auto&... part) {
        const auto ordered = std::tuple_cat(detail::if_of_stage<ScoreStage::cap>(part)...,
                                            detail::if_of_stage<ScoreStage::bias>(part)...,
                                            detail::if_of_stage<ScoreStage::mask>(part)...);
        return std::apply([&](const auto&... s) { return CombinedScore<std::remove_cvref_t<decltype(s)>...>(ordered); },
                          ordered);
      },
      std::tuple_cat(detail::parts_of(scores)...));
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
