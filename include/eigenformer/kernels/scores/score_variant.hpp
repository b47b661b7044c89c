// One of several scores, chosen at run time, as one type.
#pragma once

#include <utility>
#include <variant>

#include "eigenformer/kernels/detail/attention/checked_score.hpp"
#include "eigenformer/kernels/detail/attention/score_calls.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// Holds one of several scores of the same stage. A kernel is compiled once for all of them, and dispatches per tile,
/// not per entry:
///
///   using Mask = ScoreVariant<Unmasked, Causal>;
///   attention(q, k, v, combine(Alibi(heads), causal ? Mask(Causal{}) : Mask(Unmasked{})), {.heads = heads});
template <Score... Scores>
class ScoreVariant {
 public:
  static constexpr ScoreStage stage = std::min<ScoreStage>({Scores::stage...});
  static_assert(((Scores::stage == stage) && ...), "all scores of a ScoreVariant must have the same stage");
  static constexpr bool heads_share_gradient = (ScoreTraits<Scores>::heads_share_gradient || ...);
  static constexpr bool sequences_share_gradient = (ScoreTraits<Scores>::sequences_share_gradient || ...);
  static constexpr int saved_blocks = std::max<int>({ScoreTraits<Scores>::saved_blocks...});
  static constexpr bool reads_rows_of_keys = (ScoreTraits<Scores>::reads_rows_of_keys || ...);

  explicit ScoreVariant(std::variant<Scores...> score) : score_(std::move(score)) {}

  template <class Scalar>
  static constexpr bool is_differentiable() {
    return (detail::is_differentiable<Scores, Scalar>() && ...);
  }

  SharedGradients shared_gradients() const {
    return std::visit(
        [](const auto& score) { return ScoreTraits<std::remove_cvref_t<decltype(score)>>::shared_gradients(score); },
        score_);
  }

  void check_covers(const ScoreTile& batch) const {
    std::visit([&](const auto& score) { detail::check_covers(score, batch); }, score_);
  }
  void check_covers(const ScoreTile& batch, const RowOffsets& query_rows, const RowOffsets& key_rows) const {
    std::visit([&](const auto& score) { detail::check_covers(score, batch, query_rows, key_rows); }, score_);
  }

  Visible visible(const ScoreTile& tile) const {
    return std::visit([&](const auto& score) { return score.visible(tile); }, score_);
  }

  template <class Scalar>
  requires(AppliesTo<Scores, Scalar>&&...) EIGEN_DONT_INLINE
      void apply(const ScoreTile& tile, ScoreBlock<Scalar> scores) const {
    std::visit([&](const auto& score) { score.apply(tile, scores); }, score_);
  }

  template <class Scalar>
  EIGEN_DONT_INLINE void apply(const ScoreTile& tile, ScoreBlock<Scalar> scores, ScoreBlock<Scalar> saved) const
      requires(saved_blocks > 0) {
    std::visit([&](const auto& score) { detail::apply_saving(score, tile, scores, saved); }, score_);
  }

  template <class Scalar>
  EIGEN_DONT_INLINE void apply_backward(const ScoreTile& tile, ScoreBlock<Scalar> saved,
                                        ScoreBlock<Scalar> d_scores) const requires(saved_blocks > 0) {
    std::visit([&](const auto& score) { detail::differentiate(score, tile, saved, d_scores); }, score_);
  }
  template <class Scalar>
  EIGEN_DONT_INLINE void apply_backward(const ScoreTile& tile, ScoreBlock<Scalar> d_scores) const
      requires(saved_blocks == 0 && (ScoreTraits<Scores>::template has_derivative<Scalar>() || ...)) {
    std::visit([&](const auto& score) { detail::differentiate(score, tile, d_scores, d_scores); }, score_);
  }

 private:
  std::variant<Scores...> score_;
};

}  // namespace eigenformer::inline EIGENFORMER_ABI
