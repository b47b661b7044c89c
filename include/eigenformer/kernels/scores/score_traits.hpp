// The static properties of a score type, with defaults for undeclared ones.
#pragma once

#include "eigenformer/kernels/scores/score.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// The static properties of a score, for kernels and for scores that contain others.
template <Score S>
struct ScoreTraits {
  /// Whether S is also applied to tiles where all is visible.
  static constexpr bool changes_values = S::stage != ScoreStage::mask;
  /// The number of blocks that S saves per tile for its derivative.
  static constexpr int saved_blocks = [] {
    if constexpr (requires { S::saved_blocks; }) return S::saved_blocks;
    return 0;
  }();
  static constexpr bool heads_share_gradient = [] {
    if constexpr (requires { S::heads_share_gradient; }) return S::heads_share_gradient;
    return false;
  }();
  static constexpr bool sequences_share_gradient = [] {
    if constexpr (requires { S::sequences_share_gradient; }) return S::sequences_share_gradient;
    return false;
  }();
  static constexpr bool reads_rows_of_keys = [] {
    if constexpr (requires { S::reads_rows_of_keys; }) return S::reads_rows_of_keys;
    return false;
  }();

  /// Returns which tiles share gradients of this score.
  static SharedGradients shared_gradients(const S& score) {
    if constexpr (requires { score.shared_gradients(); })
      return score.shared_gradients();
    else
      return {heads_share_gradient, sequences_share_gradient};
  }

  /// Whether S changes gradients, or adds to gradients of its own.
  template <class Scalar>
  static constexpr bool has_derivative() {
    constexpr bool takes_saved = requires(const S& score, const ScoreTile& tile, ScoreBlock<Scalar> block) {
      score.apply_backward(tile, block, block);
    };
    static_assert(saved_blocks > 0 || !takes_saved,
                  "a score whose apply_backward takes saved blocks needs a constant saved_blocks, their number");
    return saved_blocks > 0 || requires(const S& score, const ScoreTile& tile, ScoreBlock<Scalar> block) {
      score.apply_backward(tile, block);
    };
  }
};

}  // namespace eigenformer::inline EIGENFORMER_ABI
