// Steps through all sequences of a ragged batch at once, one row of each per step.
#pragma once

#include <algorithm>
#include <numeric>
#include <span>
#include <vector>

#include "eigenformer/core/row_offsets.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// Writes the sequence indices, sorted from longest to shortest. Sequences of equal length keep their order. order: one
/// entry per sequence.
inline void sequences_by_length(const RowOffsets& rows, std::span<Index> order) {
  std::iota(order.begin(), order.end(), Index{0});
  std::sort(order.begin(), order.end(), [&](Index a, Index b) {  // unlike stable_sort, allocates nothing
    return rows.length(a) != rows.length(b) ? rows.length(a) > rows.length(b) : a < b;
  });
}

/// Returns the sequence indices, sorted from longest to shortest. Sequences of equal length keep their order.
inline std::vector<Index> sequences_by_length(const RowOffsets& rows) {
  std::vector<Index> order(static_cast<std::size_t>(rows.sequences()));
  sequences_by_length(rows, order);
  return order;
}

/// Iterates over the time steps of sequences sorted from longest to shortest. The sequences that have not ended are
/// then always the first ones:
///
///   const std::vector<Index> order = sequences_by_length(rows);
///   SequenceSteps(rows, order).for_each_step([&](Index t, Index active) {
///     // step t consists of the rows row(0, t) to row(active - 1, t)
///   });
///
/// The offsets and sequences must outlive it.
class SequenceSteps {
 public:
  /// sequences: all or some of sequences_by_length(rows), in that order.
  /// reverse: start from each sequence's last row.
  SequenceSteps(const RowOffsets& rows, std::span<const Index> sequences, bool reverse = false)
      : rows_(rows), sequences_(sequences), reverse_(reverse) {}

  /// The number of sequences.
  Index size() const { return static_cast<Index>(sequences_.size()); }
  /// The index in the batch of the i-th of these sequences.
  Index sequence(Index i) const { return sequences_[static_cast<std::size_t>(i)]; }
  Index length(Index i) const { return rows_.length(sequence(i)); }
  /// The number of steps: the length of the longest sequence.
  Index steps() const { return size() == 0 ? 0 : length(0); }
  /// The batch row of the i-th of these sequences at step t.
  Index row(Index i, Index t) const { return reverse_ ? rows_.end(sequence(i)) - 1 - t : rows_.begin(sequence(i)) + t; }

  /// Calls body(t, active) for every step from first to last. Sequences 0 to active - 1 have a row at step t.
  template <class Body>
  void for_each_step(Body body) const {
    Index active = size();
    for (Index t = 0; t < steps(); ++t) {
      while (length(active - 1) <= t) --active;
      body(t, active);
    }
  }
  /// Calls body(t, active) for every step from last to first. Sequences 0 to active - 1 have a row at step t.
  template <class Body>
  void for_each_step_backward(Body body) const {
    Index active = 0;
    for (Index t = steps(); t-- > 0;) {
      while (active < size() && length(active) > t) ++active;
      body(t, active);
    }
  }

 private:
  const RowOffsets& rows_;
  std::span<const Index> sequences_;
  bool reverse_;
};

}  // namespace eigenformer::inline EIGENFORMER_ABI
