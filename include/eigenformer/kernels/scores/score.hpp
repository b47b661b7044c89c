// How a score is masked and changed. A score is a type, so that what it does to a tile of scores is one loop, compiled
// for it. The attention kernel calls it while the tile is near, and never makes the tiles that it hides.
#pragma once

#include <algorithm>
#include <concepts>
#include <limits>
#include <type_traits>

#include "eigenformer/core/check.hpp"
#include "eigenformer/core/types.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// Which part of the score matrix a tile is. Queries and keys are counted within their sequence.
struct ScoreTile {
  Index head = 0;         // the query's head
  Index sequence = 0;     // in the ragged batch
  Index first_row = 0;    // of the sequence's queries in the batch
  Index queries = 0;      // in the sequence
  Index keys = 0;         // in the sequence
  Index query_begin = 0;  // the tile's range
  Index query_end = 0;
  Index key_begin = 0;
  Index key_end = 0;
};

/// A tile's scores, already scaled: [queries x keys], a key's queries contiguous.
template <class Scalar>
using ScoreBlock = Eigen::Map<Eigen::Matrix<Scalar, Eigen::Dynamic, Eigen::Dynamic, Eigen::ColMajor>, Eigen::Unaligned,
                              Eigen::OuterStride<>>;

/// How much of a tile its queries may see. `none` is never computed; `all` promises that nothing would be hidden, but
/// by a score of minus infinity that a change of values gives.
enum class Visible { none, some, all };

/// What hides a key from a query: a score of minus infinity.
template <class Scalar>
inline constexpr Scalar hidden_score = -std::numeric_limits<Scalar>::infinity();

/// A score's place in the order in which several are applied, whatever order they were combined in.
enum class ScoreStage { cap, bias, mask };

/// Whether S can be applied to scores of this type.
template <class S, class Scalar>
concept AppliesTo = requires(const S& score, const ScoreTile& tile, ScoreBlock<Scalar> scores) {
  score.apply(tile, scores);
};

/// A score type S has
///   static constexpr ScoreStage stage;
///   Visible visible(const ScoreTile&) const;
///   template <class Scalar> void apply(const ScoreTile&, ScoreBlock<Scalar> scores) const;
/// A mask's `apply` hides, and is called for tiles of which `some` is visible; any other changes values, and is called
/// for those of which `all` is, too. What is hidden already, a score of minus infinity, stays so.
///
/// One that does more than add a constant has a derivative, which turns the gradient after `apply` into the one before
/// it, and may add to gradients of its own. If that asks for numbers of each score, it says how many, and has a second
/// `apply`, which the backward calls in place of the first: it changes scores as that does, and leaves the numbers in
/// `saved`, a block as large as the scores. Several blocks lie one behind the other: see block_after.
///   static constexpr int saved_blocks = 1;
///   template <class Scalar> void apply(const ScoreTile&, ScoreBlock<Scalar> scores, ScoreBlock<Scalar> saved) const;
///   template <class Scalar>
///   void apply_backward(const ScoreTile&, ScoreBlock<Scalar> saved, ScoreBlock<Scalar> d_scores) const;
/// If it asks for none:
///   template <class Scalar> void apply_backward(const ScoreTile&, ScoreBlock<Scalar> d_scores) const;
/// One with gradients of its own says which tiles must not be worked on at the same time, because they add to one
/// number, by
///   static constexpr bool heads_share_gradient = true;      // those of different heads
///   static constexpr bool sequences_share_gradient = true;  // those of different sequences, queries or keys
/// One that keeps numbers of its own for a query's keys in a row asks for tiles of as many keys as there may be, by
///   static constexpr bool reads_rows_of_keys = true;
/// One that has a size of its own checks it in check_covers(const ScoreTile&), which is called first: its tile has the
/// last head, all rows of the batch as its queries, and the keys of the longest sequence.
template <class S>
concept Score = requires(const S& score, const ScoreTile& tile) {
  { &S::stage } -> std::convertible_to<const ScoreStage*>;
  typename std::integral_constant<ScoreStage, S::stage>;
  { score.visible(tile) } -> std::same_as<Visible>;
}
&&(AppliesTo<S, float> || AppliesTo<S, double>);

/// The block of the same size that lies `blocks` blocks behind this one.
template <class Scalar>
ScoreBlock<Scalar> block_after(ScoreBlock<Scalar> block, int blocks) {
  return {block.data() + blocks * block.outerStride() * block.cols(), block.rows(), block.cols(),
          Eigen::OuterStride<>(block.outerStride())};
}

/// Where a sequence's queries stand among its keys. Both begin together; or, after_past, both end together, as where a
/// cache holds keys of earlier tokens.
class Alignment {
 public:
  constexpr Alignment() = default;
  static constexpr Alignment after_past() {
    Alignment alignment;
    alignment.after_past_ = true;
    return alignment;
  }

  /// The key at the position of the sequence's first query.
  Index first_query(const ScoreTile& tile) const { return after_past_ ? tile.keys - tile.queries : 0; }

  friend bool operator==(const Alignment&, const Alignment&) = default;

 private:
  bool after_past_ = false;
};

}  // namespace eigenformer::inline EIGENFORMER_ABI
