// Static assertions that say in one sentence why an argument is not a score, or not a suitable one.
#pragma once

#include "eigenformer/kernels/scores/causal.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

/// Returns `score` if it is a score for this scalar type. Otherwise a static assertion says what it lacks, and
/// Unmasked{} is returned, so that the caller causes no further errors.
/// Scalar: the attention's scalar type, or void if that is not known yet.
template <class Scalar, class S>
decltype(auto) checked_score(const S& score) {
  constexpr bool has_stage = requires {
    typename std::integral_constant<ScoreStage, S::stage>;
  };
  constexpr bool has_visible = requires(const ScoreTile& tile) {
    { score.visible(tile) } -> std::same_as<Visible>;
  };
  constexpr bool has_apply = AppliesTo<S, float> || AppliesTo<S, double>;
  constexpr bool is_one = has_stage || has_visible;
  constexpr bool fits =
      std::is_void_v<Scalar> || AppliesTo<S, std::conditional_t<std::is_void_v<Scalar>, float, Scalar>>;
  static_assert(is_one,
                "this is no score: wrap the function in ef::score or ef::mask, a matrix of bool in ef::DenseMask, a "
                "std::variant of scores in ef::ScoreVariant");
  static_assert(!is_one || has_stage, "a score says when it is applied: static constexpr ef::ScoreStage stage");
  static_assert(!is_one || has_visible,
                "a score says what queries may see: ef::Visible visible(const ef::ScoreTile&) const");
  static_assert(!is_one || has_apply,
                "a score has: template <class Scalar> void apply(const ef::ScoreTile&, ef::ScoreBlock<Scalar>) const");
  static_assert(!has_apply || fits, "this score has another scalar type than the attention");
  if constexpr (Score<S> && fits)
    return (score);
  else
    return Unmasked{};
}

/// Returns whether S can be differentiated. If a function in it cannot, a static assertion says so.
template <Score S, class Scalar>
constexpr bool is_differentiable() {
  if constexpr (requires { S::template is_differentiable<Scalar>(); }) return S::template is_differentiable<Scalar>();
  return true;
}

/// Returns `score` if it is a score for this scalar type that can be differentiated. Otherwise a static assertion says
/// what it lacks, and Unmasked{} is returned.
template <class Scalar, class S>
decltype(auto) differentiable_score(const S& score) {
  using Checked = std::remove_cvref_t<decltype(checked_score<Scalar>(score))>;
  if constexpr (std::is_same_v<Checked, S> && is_differentiable<Checked, Scalar>())
    return (score);
  else
    return Unmasked{};
}

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
