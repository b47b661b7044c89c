// The functions through which kernels call a score.
#pragma once

#include <algorithm>
#include <type_traits>

#include "eigenformer/core/function_ref.hpp"
#include "eigenformer/core/row_offsets.hpp"
#include "eigenformer/kernels/scores/score_traits.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

/// How much several heads see of a tile: the head that sees most, and the head that sees least.
struct SeenByHeads {
  Visible most = Visible::none, least = Visible::all;
};
/// Returns how much of `tile` is seen by the `heads` heads from tile.head on.
template <Score S>
SeenByHeads seen_by_heads(const S& score, ScoreTile tile, Index heads) {
  if constexpr (requires { score.seen_by_heads(tile, heads); }) {
    return score.seen_by_heads(tile, heads);
  } else {
    SeenByHeads seen;
    for (const Index end = tile.head + heads; tile.head < end; ++tile.head) {
      const Visible of_head = score.visible(tile);
      seen.most = std::max<Visible>(seen.most, of_head);
      seen.least = std::min<Visible>(seen.least, of_head);
    }
    return seen;
  }
}

/// Applies a score in place, and writes what its derivative needs to `saved`.
template <Score S, class Scalar>
void apply_saving(const S& score, const ScoreTile& tile, ScoreBlock<Scalar> scores, ScoreBlock<Scalar> saved) {
  if constexpr (ScoreTraits<S>::saved_blocks > 0)
    score.apply(tile, scores, saved);
  else
    score.apply(tile, scores);
}

/// Turns the gradient of a score's results into the gradient of its inputs, in place. Does nothing if the score has no
/// derivative.
template <Score S, class Scalar>
void differentiate(const S& score, const ScoreTile& tile, ScoreBlock<Scalar> saved, ScoreBlock<Scalar> d_scores) {
  if constexpr (ScoreTraits<S>::saved_blocks > 0)
    score.apply_backward(tile, saved, d_scores);
  else if constexpr (ScoreTraits<S>::template has_derivative<Scalar>())
    score.apply_backward(tile, d_scores);
}

/// Throws if the score has a size of its own that does not cover the batch.
template <Score S>
void check_covers(const S& score, const ScoreTile& batch) {
  if constexpr (requires { score.check_covers(batch); }) score.check_covers(batch);
}
/// Throws if the score has a size of its own that does not cover the batch. query_rows, key_rows: of the
/// batch. They are for scores that place the queries sequence by sequence.
template <Score S>
void check_covers(const S& score, const ScoreTile& batch, const RowOffsets& query_rows, const RowOffsets& key_rows) {
  if constexpr (requires { score.check_covers(batch, query_rows, key_rows); })
    score.check_covers(batch, query_rows, key_rows);
  else
    check_covers(score, batch);
}

/// How kernels treat the values of hidden keys.
enum class HiddenKeys {
  weighted_by_zero,  // multiply them by their weight of 0: correct unless a value is infinite or NaN
  skipped            // leave them out, entry by entry
};

/// Calls apply(scores), and hides each infinite or NaN score that `apply` would hide if it were 0. A user's function
/// may add minus infinity to NaN, which gives NaN and so hides nothing. The last call of `apply` is the one for the
/// real scores, so it saves what their derivative needs.
template <class Scalar>
EIGEN_DONT_INLINE void apply_carefully(ScoreBlock<Scalar> scores,
                                       std::type_identity_t<FunctionRef<void(ScoreBlock<Scalar>)>> apply) {
  using Entries = Eigen::Array<Scalar, Eigen::Dynamic, Eigen::Dynamic, Eigen::ColMajor>;
  Entries defined = scores.array();
  defined = (defined - defined == Scalar(0)).select(defined, Scalar(0));
  if ((defined == scores.array()).all()) return apply(scores);
  apply(ScoreBlock<Scalar>(defined.data(), defined.rows(), defined.cols(), Eigen::OuterStride<>(defined.rows())));
  apply(scores);
  scores.array() = (defined == hidden_score<Scalar>).select(defined, scores.array());
}
/// Applies a score in place. If hidden keys are skipped, a score that changes values goes through apply_carefully.
template <Score S, class Scalar>
void apply_score(const S& score, const ScoreTile& tile, ScoreBlock<Scalar> scores, HiddenKeys hidden) {
  if (ScoreTraits<S>::changes_values && hidden == HiddenKeys::skipped)
    apply_carefully<Scalar>(scores, [&](ScoreBlock<Scalar> block) { score.apply(tile, block); });
  else
    score.apply(tile, scores);
}

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
