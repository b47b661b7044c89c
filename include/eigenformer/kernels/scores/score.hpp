// The concept of a score, which masks or changes the scores of attention. A score is a type, so the compiler can
// optimise the loop that applies it to a tile. The attention kernel applies the score while the tile is in cache, and
// never computes hidden tiles.
#pragma once

#include <algorithm>
#include <concepts>
#include <limits>
#include <span>
#include <type_traits>

#include "eigenformer/core/check.hpp"
#include "eigenformer/core/sizes.hpp"
#include "eigenformer/core/types.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// The part of the score matrix that a tile covers. Queries and keys are counted within their sequence.
struct ScoreTile {
  Index head = 0;         // head of the queries
  Index sequence = 0;     // in the ragged batch
  Index first_row = 0;    // row of the sequence's first query in the batch
  Index queries = 0;      // in the sequence
  Index keys = 0;         // in the sequence
  Index query_begin = 0;  // the tile's range
  Index query_end = 0;
  Index key_begin = 0;
  Index key_end = 0;
};

/// The scaled scores of a tile: [queries x keys], with the queries of a key contiguous.
template <class Scalar>
using ScoreBlock = Eigen::Map<Eigen::Matrix<Scalar, Eigen::Dynamic, Eigen::Dynamic, Eigen::ColMajor>, Eigen::Unaligned,
                              Eigen::OuterStride<>>;

/// How much of a tile its queries may see. Attention does not compute a tile that is `none` for all heads it processes
/// together. `all` promises that no score is hidden, except where a change of values gives -inf.
enum class Visible { none, some, all };

/// Tells which tiles add to the same gradient of a score's own parameters, and so must not run at the same time.
struct SharedGradients {
  bool by_heads = false;      // tiles of different heads
  bool by_sequences = false;  // tiles of different sequences, queries or keys

  friend bool operator==(const SharedGradients&, const SharedGradients&) = default;
};

/// The score of a hidden key: -inf.
template <class Scalar>
inline constexpr Scalar hidden_score = -std::numeric_limits<Scalar>::infinity();

/// The stage of a score. Combined scores are applied by stage, whatever the order of the arguments.
enum class ScoreStage { cap, bias, mask };

/// Whether S applies to scores of this scalar type.
template <class S, class Scalar>
concept AppliesTo = requires(const S& score, const ScoreTile& tile, ScoreBlock<Scalar> scores) {
  score.apply(tile, scores);
};

/// The concept of a score. A score type S has
///   static constexpr ScoreStage stage;
///   Visible visible(const ScoreTile&) const;
///   template <class Scalar> void apply(const ScoreTile&, ScoreBlock<Scalar> scores) const;
/// - The `apply` of a mask hides scores. It is called only for tiles where not all is visible.
/// - The `apply` of any other score changes values. It may be called for any tile.
/// - `apply` must leave scores hidden that are hidden already (-inf).
///
/// A score that does more than add a constant has a derivative, `apply_backward`. It turns the gradient of the
/// changed scores into the gradient of the scores before `apply`. It may also add to gradients of the score's own
/// parameters, such as a bias:
///   template <class Scalar> void apply_backward(const ScoreTile&, ScoreBlock<Scalar> d_scores) const;
/// If the derivative needs saved numbers for each score, S declares how many, and has a second `apply` for the
/// backward. It changes the scores as the first does, and writes the numbers to `saved`: blocks of the size of the
/// scores, one after another (see block_after).
///   static constexpr int saved_blocks = 1;
///   template <class Scalar> void apply(const ScoreTile&, ScoreBlock<Scalar> scores, ScoreBlock<Scalar> saved) const;
///   template <class Scalar>
///   void apply_backward(const ScoreTile&, ScoreBlock<Scalar> saved, ScoreBlock<Scalar> d_scores) const;
///
/// Tiles that add to the same gradient of the score's own parameters must not run at the same time. The score declares
/// which tiles can add to the same gradient:
///   static constexpr bool heads_share_gradient = true;      // tiles of different heads
///   static constexpr bool sequences_share_gradient = true;  // tiles of different sequences, queries or keys
/// If that is known only at run time, the constants are true where gradients may be shared, and a member function
/// returns the actual sharing:
///   SharedGradients shared_gradients() const;
/// A score that reads a matrix [queries x keys] with contiguous rows asks for tiles with as many keys as possible:
///   static constexpr bool reads_rows_of_keys = true;
/// A score of limited size, such as a dense mask, has a function check_covers(const ScoreTile&) that throws if the
/// batch is larger. It is called first, with a tile of the last sequence and head. The range of its queries is all rows
/// of the batch, `queries` is the number of queries of the longest sequence, and its keys are those of the longest. The
/// built-in scores also throw if they have more heads or sequences than the batch, because these were made for another.
template <class S>
concept Score = requires(const S& score, const ScoreTile& tile) {
  { &S::stage } -> std::convertible_to<const ScoreStage*>;
  typename std::integral_constant<ScoreStage, S::stage>;
  { score.visible(tile) } -> std::same_as<Visible>;
}
&&(AppliesTo<S, float> || AppliesTo<S, double>);

/// Returns the block of the same size that begins `blocks` blocks after `block`.
template <class Scalar>
ScoreBlock<Scalar> block_after(ScoreBlock<Scalar> block, int blocks) {
  return {block.data() + blocks * block.outerStride() * block.cols(), block.rows(), block.cols(),
          Eigen::OuterStride<>(block.outerStride())};
}

/// The position of a sequence's queries among its keys: query i is at key i + an offset.
/// - By default the first query is at the first key.
/// - With after_past the last query is at the last key, for keys that include earlier tokens (a cache).
/// - With with_offsets each sequence has an offset of its own. It may be negative.
class Alignment {
 public:
  constexpr Alignment() = default;
  static constexpr Alignment after_past() {
    Alignment alignment;
    alignment.after_past_ = true;
    return alignment;
  }
  /// offsets: the key of each sequence's first query. They must outlive the alignment.
  static constexpr Alignment with_offsets(std::span<const Index> offsets) {
    Alignment alignment;
    alignment.offsets_ = offsets;
    alignment.has_offsets_ = true;
    return alignment;
  }

  /// The key at the position of the sequence's first query.
  Index first_query(const ScoreTile& tile) const {
    if (has_offsets_) return offsets_[static_cast<std::size_t>(tile.sequence)];
    return after_past_ ? tile.keys - tile.queries : 0;
  }

  /// An upper bound on the key positions that queries of the batch take, from the longest sequence and largest offset.
  /// There must be an offset for each sequence. batch: see check_covers of a Score.
  Index positions(const ScoreTile& batch) const {
    if (after_past_) return std::max<Index>(batch.keys, batch.queries);
    if (!has_offsets_) return batch.queries;
    Index largest = 0;
    for (const Index offset : offsets_.first(static_cast<std::size_t>(batch.sequence + 1)))
      largest = std::max<Index>(largest, offset);
    return largest + batch.queries;
  }

  /// Throws if there are offsets, but for fewer sequences than the batch has, or some so large that sums with them
  /// could overflow.
  void check_covers(const ScoreTile& batch) const {
    check(!has_offsets_ || batch.sequence < static_cast<Index>(offsets_.size()),
          "attention: the score has offsets for ", offsets_.size(), " sequences, expected ", batch.sequence + 1);
    if (!has_offsets_) return;
    for (const Index offset : offsets_.first(static_cast<std::size_t>(batch.sequence + 1)))
      check(offset >= -most_offset && offset <= most_offset, "attention: the score has an offset of ", offset,
            ", expected at most ", most_offset, " in either direction");
  }

  friend bool operator==(const Alignment& a, const Alignment& b) {
    return a.after_past_ == b.after_past_ && a.has_offsets_ == b.has_offsets_ &&
           std::equal(a.offsets_.begin(), a.offsets_.end(), b.offsets_.begin(), b.offsets_.end());
  }

 private:
  static constexpr Index most_offset = (std::numeric_limits<Index>::max)() / 4;

  bool after_past_ = false, has_offsets_ = false;
  std::span<const Index> offsets_;
};

namespace detail {

/// Throws unless a score [batch x heads x queries x keys] has the sequences and heads of the batch, and at least its
/// queries and keys. Sizes of 1 are repeated. what: names the score; batch: see check_covers of a Score.
inline void check_sizes_cover(const char* what, const Sizes& shape, const ScoreTile& batch) {
  const Index sequences = batch.sequence + 1, heads = batch.head + 1;
  check((shape[0] == 1 || shape[0] == sequences) && (shape[1] == 1 || shape[1] == heads) &&
            (shape[2] == 1 || shape[2] >= batch.queries) && (shape[3] == 1 || shape[3] >= batch.key_end),
        "attention: the ", what, " is ", shape, ", expected ", sequences, " sequences, ", heads, " heads, at least ",
        batch.queries, " queries and at least ", batch.key_end, " keys, or sizes of 1");
}

}  // namespace detail

}  // namespace eigenformer::inline EIGENFORMER_ABI
