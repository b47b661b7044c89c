// Combines several scores into one.
#pragma once

#include <algorithm>
#include <tuple>

#include "eigenformer/kernels/detail/attention/checked_score.hpp"
#include "eigenformer/kernels/detail/attention/score_calls.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// The result of combine(). Stores the scores in the order in which they are applied.
template <Score... Scores>
class CombinedScore {
 public:
  static constexpr ScoreStage stage = std::min<ScoreStage>({Scores::stage...});
  static constexpr bool heads_share_gradient = (ScoreTraits<Scores>::heads_share_gradient || ...);
  static constexpr bool sequences_share_gradient = (ScoreTraits<Scores>::sequences_share_gradient || ...);
  static constexpr int saved_blocks = (ScoreTraits<Scores>::saved_blocks + ...);
  static constexpr bool reads_rows_of_keys = (ScoreTraits<Scores>::reads_rows_of_keys || ...);

  explicit CombinedScore(const std::tuple<Scores...>& scores) : scores_(scores) {}

  template <class Scalar>
  static constexpr bool is_differentiable() {
    return (detail::is_differentiable<Scores, Scalar>() && ...);
  }

  const std::tuple<Scores...>& scores() const { return scores_; }

  SharedGradients shared_gradients() const {
    SharedGradients any;
    for_each([&](const auto& score) {
      const SharedGradients of = ScoreTraits<std::remove_cvref_t<decltype(score)>>::shared_gradients(score);
      any = {any.by_heads || of.by_heads, any.by_sequences || of.by_sequences};
    });
    return any;
  }

  void check_covers(const ScoreTile& batch) const {
    for_each([&](const auto& score) { detail::check_covers(score, batch); });
  }
  void check_covers(const ScoreTile& batch, const RowOffsets& query_rows, const RowOffsets& key_rows) const {
    for_each([&](const auto& score) { detail::check_covers(score, batch, query_rows, key_rows); });
  }

  Visible visible(const ScoreTile& tile) const {
    Visible least = Visible::all;
    for_each([&](const auto& score) {
      if (least != Visible::none) least = std::min<Visible>(least, score.visible(tile));
    });
    return least;
  }

  template <class Scalar>
  requires(AppliesTo<Scores, Scalar>&&...) void apply(const ScoreTile& tile, ScoreBlock<Scalar> scores) const {
    for_each([&](const auto& score) {
      if (is_applied(score, tile)) score.apply(tile, scores);
    });
  }

  template <class Scalar>
  void apply(const ScoreTile& tile, ScoreBlock<Scalar> scores, ScoreBlock<Scalar> saved) const
      requires(saved_blocks > 0) {
    int before = 0;  // saved blocks of the preceding scores
    for_each([&](const auto& score) {
      if (is_applied(score, tile)) detail::apply_saving(score, tile, scores, block_after(saved, before));
      before += ScoreTraits<std::remove_cvref_t<decltype(score)>>::saved_blocks;
    });
  }

  template <class Scalar>
  void apply_backward(const ScoreTile& tile, ScoreBlock<Scalar> saved, ScoreBlock<Scalar> d_scores) const
      requires(saved_blocks > 0) {
    differentiate<0>(tile, saved, d_scores);
  }
  template <class Scalar>
  void apply_backward(const ScoreTile& tile, ScoreBlock<Scalar> d_scores) const
      requires(saved_blocks == 0 && (ScoreTraits<Scores>::template has_derivative<Scalar>() || ...)) {
    differentiate<0>(tile, d_scores, d_scores);
  }

 private:
  template <class Body>
  void for_each(Body body) const {
    std::apply([&](const auto&... score) { (body(score), ...); }, scores_);
  }

  template <class S>
  static bool is_applied(const S& score, const ScoreTile& tile) {
    return ScoreTraits<S>::changes_values || score.visible(tile) != Visible::all;
  }

  /// Differentiates the scores from the last down to number `at`.
  template <std::size_t at, class Scalar>
  void differentiate(const ScoreTile& tile, ScoreBlock<Scalar> saved, ScoreBlock<Scalar> d_scores) const {
    const auto& score = std::get<at>(scores_);
    constexpr int own_blocks = ScoreTraits<std::remove_cvref_t<decltype(score)>>::saved_blocks;
    if constexpr (at + 1 < sizeof...(Scores)) differentiate<at + 1>(tile, block_after(saved, own_blocks), d_scores);
    detail::differentiate(score, tile, saved, d_scores);
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

/// Returns a score that applies all of the given scores. Caps come first, then biases, then masks; within a stage, the
/// order of the arguments holds.
///
///   auto score = combine(Causal{}, SlidingWindow(256), SoftCap(30));
template <class... Scores>
auto combine(const Scores&... scores) {
  return std::apply(
      [](const auto&... part) {
        const auto ordered = std::tuple_cat(detail::if_of_stage<ScoreStage::cap>(part)...,
                                            detail::if_of_stage<ScoreStage::bias>(part)...,
                                            detail::if_of_stage<ScoreStage::mask>(part)...);
        return std::apply([&](const auto&... s) { return CombinedScore<std::remove_cvref_t<decltype(s)>...>(ordered); },
                          ordered);
      },
      std::tuple_cat(detail::parts_of(detail::checked_score<void>(scores))...));
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
