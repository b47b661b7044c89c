// The scores that an AnyScore combines at run time. Each is erased, owned and shared by copies.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "eigenformer/kernels/detail/attention/erased_score.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

/// A score without its type, kept alive by a shared pointer, and the alignment that numbers its queries.
template <class Scalar>
class ScorePart {
 public:
  template <Score S>
  explicit ScorePart(const S& score) : ScorePart(std::make_shared<const S>(score)) {}

  ScoreStage stage() const { return stage_; }
  const ScoreKind& kind() const { return erased_.kind; }
  /// Places the first query of each sequence: the score sees a tile whose queries are numbered from there.
  void place(const Alignment& alignment) { alignment_ = alignment; }

  void check_covers(const ScoreTile& batch) const {
    alignment_.check_covers(batch);
    ScoreTile placed = batch;
    placed.queries = alignment_.positions(batch);
    erased_.check_covers(placed);
  }
  /// Checks the places of the queries sequence by sequence. Adding the largest offset to the longest length would
  /// refuse valid batches. Throws if a first query gets a negative number.
  void check_covers(const ScoreTile& batch, const RowOffsets& query_rows, const RowOffsets& key_rows) const {
    if (alignment_ == Alignment()) return erased_.check_covers(batch, query_rows, key_rows);
    alignment_.check_covers(batch);
    ScoreTile all = batch;
    all.queries = 0;
    for (Index s = 0; s < query_rows.sequences(); ++s) {
      ScoreTile tile;
      tile.sequence = s;
      tile.queries = query_rows.length(s);
      tile.keys = key_rows.length(s);
      if (tile.queries > 0 && tile.keys > 0) all.queries = std::max<Index>(all.queries, placed(tile).queries);
    }
    erased_.check_covers(all);
  }
  Visible visible(const ScoreTile& tile) const { return erased_.visible(placed(tile)); }
  void apply(const ScoreTile& tile, ScoreBlock<Scalar> scores) const { erased_.apply(placed(tile), scores); }
  void apply_saving(const ScoreTile& tile, ScoreBlock<Scalar> scores, ScoreBlock<Scalar> saved) const {
    erased_.apply_saving(placed(tile), scores, saved);
  }
  void differentiate(const ScoreTile& tile, ScoreBlock<Scalar> saved, ScoreBlock<Scalar> d_scores) const {
    erased_.differentiate(placed(tile), saved, d_scores);
  }

 private:
  template <Score S>
  explicit ScorePart(std::shared_ptr<const S> score)
      : stage_(S::stage), erased_(*score, std::true_type{}), owner_(std::move(score)) {}

  /// Returns the tile with its queries numbered by the alignment. Each query keeps its row in the batch. Throws if the
  /// first query gets a negative number: it would be outside of dense masks.
  ScoreTile placed(ScoreTile tile) const {
    const Index first = alignment_.first_query(tile);
    check(first >= 0, "attention: the score places the first query of sequence ", tile.sequence, " at key ", first,
          ", expected 0 or more");
    tile.first_row -= first;
    tile.queries += first;
    tile.query_begin += first;
    tile.query_end += first;
    return tile;
  }

  ScoreStage stage_;
  ErasedScore<Scalar> erased_;
  std::shared_ptr<const void> owner_;
  Alignment alignment_;
};

/// Scores in the order in which they are applied.
template <class Scalar>
class ScoreParts {
 public:
  /// The properties of all parts together.
  const ScoreKind& kind() const { return kind_; }

  /// Adds a score, after those of its stage.
  void add(ScorePart<Scalar> part) {
    const ScoreKind& added = part.kind();
    kind_.changes_values |= added.changes_values;
    kind_.reads_rows_of_keys |= added.reads_rows_of_keys;
    kind_.saved_blocks += added.saved_blocks;
    kind_.heads_share_gradient |= added.heads_share_gradient;
    kind_.sequences_share_gradient |= added.sequences_share_gradient;
    const auto after = [&](const ScorePart<Scalar>& other) { return other.stage() > part.stage(); };
    parts_.insert(std::find_if(parts_.begin(), parts_.end(), after), std::move(part));
  }
  void add(const ScoreParts& others) {
    for (const ScorePart<Scalar>& part : others.parts_) add(part);
  }
  void place(const Alignment& alignment) {
    for (ScorePart<Scalar>& part : parts_) part.place(alignment);
  }

  void check_covers(const ScoreTile& batch) const {
    for (const ScorePart<Scalar>& part : parts_) part.check_covers(batch);
  }
  void check_covers(const ScoreTile& batch, const RowOffsets& query_rows, const RowOffsets& key_rows) const {
    for (const ScorePart<Scalar>& part : parts_) part.check_covers(batch, query_rows, key_rows);
  }
  Visible visible(const ScoreTile& tile) const {
    Visible least = Visible::all;
    for (const ScorePart<Scalar>& part : parts_)
      if (least != Visible::none) least = std::min<Visible>(least, part.visible(tile));
    return least;
  }
  void apply(const ScoreTile& tile, ScoreBlock<Scalar> scores) const {
    for (const ScorePart<Scalar>& part : parts_)
      if (is_applied(part, tile)) part.apply(tile, scores);
  }

  /// Applies the scores in place. `saved` has room for `blocks` blocks. If the parts save more than these, saves the
  /// unchanged scores instead, and `differentiate` applies the parts once more.
  void apply_saving(const ScoreTile& tile, ScoreBlock<Scalar> scores, ScoreBlock<Scalar> saved, int blocks) const {
    if (kind_.saved_blocks <= blocks) return apply_saving_all(tile, scores, saved);
    saved = scores;
    apply(tile, scores);
  }
  void differentiate(const ScoreTile& tile, ScoreBlock<Scalar> saved, ScoreBlock<Scalar> d_scores, int blocks) const {
    if (kind_.saved_blocks <= blocks) return differentiate_all(tile, saved, d_scores);
    const Index stride = saved.outerStride(), block = stride * saved.cols();
    std::vector<Scalar> memory(static_cast<std::size_t>(block * (1 + kind_.saved_blocks)));
    ScoreBlock<Scalar> scores(memory.data(), saved.rows(), saved.cols(), Eigen::OuterStride<>(stride));
    scores = saved;
    apply_saving_all(tile, scores, block_after(scores, 1));
    differentiate_all(tile, block_after(scores, 1), d_scores);
  }

 private:
  bool is_applied(const ScorePart<Scalar>& part, const ScoreTile& tile) const {
    return parts_.size() == 1 || part.kind().changes_values || part.visible(tile) != Visible::all;
  }
  void apply_saving_all(const ScoreTile& tile, ScoreBlock<Scalar> scores, ScoreBlock<Scalar> saved) const {
    int before = 0;
    for (const ScorePart<Scalar>& part : parts_) {
      if (is_applied(part, tile)) part.apply_saving(tile, scores, block_after(saved, before));
      before += part.kind().saved_blocks;
    }
  }
  void differentiate_all(const ScoreTile& tile, ScoreBlock<Scalar> saved, ScoreBlock<Scalar> d_scores) const {
    int before = kind_.saved_blocks;
    for (auto part = parts_.rbegin(); part != parts_.rend(); ++part) {
      before -= part->kind().saved_blocks;
      part->differentiate(tile, block_after(saved, before), d_scores);
    }
  }

  ScoreKind kind_;
  std::vector<ScorePart<Scalar>> parts_;
};

/// ScoreParts as a Score, with the properties that kernels need at compile time. The parts must outlive it.
template <class Scalar, ScoreKind known>
class ScorePartsOfKind {
 public:
  static constexpr ScoreStage stage = known.changes_values ? ScoreStage::bias : ScoreStage::mask;
  static constexpr int saved_blocks = known.saved_blocks;
  static constexpr bool reads_rows_of_keys = known.reads_rows_of_keys;

  const ScoreKind kind;

  const ScoreParts<Scalar>& parts() const { return *parts_; }

  explicit ScorePartsOfKind(const ScoreParts<Scalar>& parts)
      : kind{known.changes_values, known.reads_rows_of_keys, known.saved_blocks, parts.kind().heads_share_gradient,
             parts.kind().sequences_share_gradient},
        parts_(&parts) {}

  void check_covers(const ScoreTile& batch) const { parts_->check_covers(batch); }
  void check_covers(const ScoreTile& batch, const RowOffsets& query_rows, const RowOffsets& key_rows) const {
    parts_->check_covers(batch, query_rows, key_rows);
  }
  Visible visible(const ScoreTile& tile) const { return parts_->visible(tile); }
  void apply(const ScoreTile& tile, ScoreBlock<Scalar> scores) const { parts_->apply(tile, scores); }
  void apply(const ScoreTile& tile, ScoreBlock<Scalar> scores, ScoreBlock<Scalar> saved) const
      requires(saved_blocks > 0) {
    parts_->apply_saving(tile, scores, saved, saved_blocks);
  }
  void apply_backward(const ScoreTile& tile, ScoreBlock<Scalar> saved, ScoreBlock<Scalar> d_scores) const
      requires(saved_blocks > 0) {
    parts_->differentiate(tile, saved, d_scores, saved_blocks);
  }

 private:
  const ScoreParts<Scalar>* parts_;
};

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail

namespace eigenformer::inline EIGENFORMER_ABI {

/// What an AnyScore holds if it is neither Unmasked nor Causal.
template <class Scalar>
using OwnedScores = detail::ScoreParts<Scalar>;

}  // namespace eigenformer::inline EIGENFORMER_ABI
