// Type erasure for scores: one compiled kernel serves many scores. Kernels call a score per tile, not per entry, so the
// indirect calls cost little.
#pragma once

#include "eigenformer/kernels/detail/attention/score_calls.hpp"
#include "eigenformer/kernels/scores/causal.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

/// The properties of a score that kernels need at compile time.
struct ScoreKind {
  bool changes_values = false, reads_rows_of_keys = false;
  // Used by the backward only:
  int saved_blocks = 0;
  bool heads_share_gradient = false, sequences_share_gradient = false;
};

/// All properties of S.
template <Score S>
inline constexpr ScoreKind kind_of{ScoreTraits<S>::changes_values, ScoreTraits<S>::reads_rows_of_keys,
                                   ScoreTraits<S>::saved_blocks, ScoreTraits<S>::heads_share_gradient,
                                   ScoreTraits<S>::sequences_share_gradient};
/// The properties of S that the forward needs.
template <Score S>
inline constexpr ScoreKind kind_of_forward{ScoreTraits<S>::changes_values, ScoreTraits<S>::reads_rows_of_keys};
/// The properties of S that grouped heads and few queries need at compile time.
template <Score S>
inline constexpr ScoreKind kind_off_blocks{ScoreTraits<S>::changes_values};
/// The properties of S that the backward needs at compile time. Any score with a derivative gets at least two saved
/// blocks, so that most such scores share one kernel.
template <Score S, class Scalar>
inline constexpr ScoreKind kind_of_backward{
    ScoreTraits<S>::changes_values, false,
    ScoreTraits<S>::template has_derivative<Scalar>() ? std::max<int>(ScoreTraits<S>::saved_blocks, 2) : 0};

/// Returns all properties of a score. An erased score has them in its member `kind`. For any other score, its type
/// determines them, but the score itself tells whether heads and sequences share a gradient.
template <Score S>
ScoreKind kind_at_run_time(const S& score) {
  if constexpr (requires { requires std::is_same_v<std::remove_cvref_t<decltype(score.kind)>, ScoreKind>; }) {
    return score.kind;
  } else {
    ScoreKind kind = kind_of<S>;
    const SharedGradients shared = ScoreTraits<S>::shared_gradients(score);
    kind.heads_share_gradient = shared.by_heads;
    kind.sequences_share_gradient = shared.by_sequences;
    return kind;
  }
}

/// A reference to a score of any type. The score must outlive it.
template <class Scalar>
class ErasedScore {
 public:
  ScoreKind kind;

  /// Refers to `score`. differentiated: whether the derivative will be used. If not, the derivative is not compiled, so
  /// that functions that take no dual numbers are accepted.
  template <Score S, bool differentiated>
  ErasedScore(const S& score, std::bool_constant<differentiated>)
      : kind(kind_at_run_time(score)), score_(&score), functions_(&functions_of<S, differentiated>) {}

  void check_covers(const ScoreTile& batch) const { functions_->check_covers(score_, batch); }
  void check_covers(const ScoreTile& batch, const RowOffsets& query_rows, const RowOffsets& key_rows) const {
    functions_->check_covers_rows(score_, batch, query_rows, key_rows);
  }
  Visible visible(const ScoreTile& tile) const { return functions_->visible(score_, tile); }
  /// See detail::seen_by_heads. One indirect call for all heads.
  SeenByHeads seen_by_heads(const ScoreTile& tile, Index heads) const {
    return functions_->seen_by_heads(score_, tile, heads);
  }
  void apply(const ScoreTile& tile, ScoreBlock<Scalar> scores) const { functions_->apply(score_, tile, scores); }
  /// Applies the score in place, and fills kind.saved_blocks blocks from `saved` on. Must not be called unless the
  /// constructor's `differentiated` was true.
  void apply_saving(const ScoreTile& tile, ScoreBlock<Scalar> scores, ScoreBlock<Scalar> saved) const {
    eigen_assert(functions_->apply_saving != nullptr);
    functions_->apply_saving(score_, tile, scores, saved);
  }
  /// Turns the gradient of the score's results into the gradient of its inputs, in place. Does nothing if the score has
  /// no derivative. Must not be called unless the constructor's `differentiated` was true.
  void differentiate(const ScoreTile& tile, ScoreBlock<Scalar> saved, ScoreBlock<Scalar> d_scores) const {
    eigen_assert(functions_->differentiate != nullptr);
    functions_->differentiate(score_, tile, saved, d_scores);
  }

 private:
  /// The functions of a type of scores. Their first argument points to the score.
  struct Functions {
    void (*check_covers)(const void*, const ScoreTile&);
    void (*check_covers_rows)(const void*, const ScoreTile&, const RowOffsets&, const RowOffsets&);
    Visible (*visible)(const void*, const ScoreTile&);
    SeenByHeads (*seen_by_heads)(const void*, const ScoreTile&, Index);
    void (*apply)(const void*, const ScoreTile&, ScoreBlock<Scalar>);
    void (*apply_saving)(const void*, const ScoreTile&, ScoreBlock<Scalar>, ScoreBlock<Scalar>);
    void (*differentiate)(const void*, const ScoreTile&, ScoreBlock<Scalar>, ScoreBlock<Scalar>);
  };

  /// The functions of S. They do not depend on `differentiated`, so they are compiled once.
  template <Score S>
  struct FunctionsOf {
    static const S& of(const void* score) { return *static_cast<const S*>(score); }
    static void check_covers(const void* score, const ScoreTile& batch) { detail::check_covers(of(score), batch); }
    static void check_covers_rows(const void* score, const ScoreTile& batch, const RowOffsets& query_rows,
                                  const RowOffsets& key_rows) {
      detail::check_covers(of(score), batch, query_rows, key_rows);
    }
    static Visible visible(const void* score, const ScoreTile& tile) { return of(score).visible(tile); }
    static SeenByHeads seen_by_heads(const void* score, const ScoreTile& tile, Index heads) {
      return detail::seen_by_heads(of(score), tile, heads);
    }
    static void apply(const void* score, const ScoreTile& tile, ScoreBlock<Scalar> scores) {
      of(score).apply(tile, scores);
    }
    static void apply_saving(const void* score, const ScoreTile& tile, ScoreBlock<Scalar> scores,
                             ScoreBlock<Scalar> saved) {
      detail::apply_saving(of(score), tile, scores, saved);
    }
    static void differentiate(const void* score, const ScoreTile& tile, ScoreBlock<Scalar> saved,
                              ScoreBlock<Scalar> d_scores) {
      detail::differentiate(of(score), tile, saved, d_scores);
    }
  };
  template <Score S, bool differentiated>
  static constexpr Functions make_functions() {
    using Of = FunctionsOf<S>;
    Functions functions{
        &Of::check_covers, &Of::check_covers_rows, &Of::visible, &Of::seen_by_heads, &Of::apply, nullptr, nullptr};
    if constexpr (differentiated) {
      functions.apply_saving = &Of::apply_saving;
      functions.differentiate = &Of::differentiate;
    }
    return functions;
  }
  template <Score S, bool differentiated>
  static constexpr Functions functions_of = make_functions<S, differentiated>();

  const void* score_;
  const Functions* functions_;
};

/// An erased score as a Score, with the properties that kernels need at compile time. `kind` tells which tiles share
/// gradients.
template <class Scalar, ScoreKind known>
class ScoreOfKind : public ErasedScore<Scalar> {
 public:
  static constexpr ScoreStage stage = known.changes_values ? ScoreStage::bias : ScoreStage::mask;
  static constexpr int saved_blocks = known.saved_blocks;
  static constexpr bool reads_rows_of_keys = known.reads_rows_of_keys;

  template <Score S>
  explicit ScoreOfKind(const S& score) : ErasedScore<Scalar>(score, std::bool_constant<(known.saved_blocks > 0)>{}) {}
  /// Refers to the score that `score` refers to, so `score` need not outlive this object. For kinds without saved
  /// blocks only.
  template <ScoreKind other>
  requires(known.saved_blocks == 0 &&
           other.saved_blocks == 0) explicit ScoreOfKind(const ScoreOfKind<Scalar, other>& score)
      : ErasedScore<Scalar>(score) {}

  using ErasedScore<Scalar>::apply;
  void apply(const ScoreTile& tile, ScoreBlock<Scalar> scores, ScoreBlock<Scalar> saved) const
      requires(saved_blocks > 0) {
    this->apply_saving(tile, scores, saved);
  }
  void apply_backward(const ScoreTile& tile, ScoreBlock<Scalar> saved, ScoreBlock<Scalar> d_scores) const
      requires(saved_blocks > 0) {
    this->differentiate(tile, saved, d_scores);
  }
};

/// Whether query blocks and the backward have kernels compiled for S alone. Unmasked and Causal do, because indirect
/// calls would cost most for them.
template <Score S>
inline constexpr bool has_own_kernel = std::is_same_v<S, Unmasked> || std::is_same_v<S, Causal>;

/// Returns the score that a kernel is compiled for: scores with a kernel of their own as they are, any other as a
/// ScoreOfKind.
template <class Scalar, ScoreKind kind, Score S>
decltype(auto) for_kernel(const S& score) {
  if constexpr (has_own_kernel<S>)
    return (score);
  else
    return ScoreOfKind<Scalar, kind>(score);
}

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
