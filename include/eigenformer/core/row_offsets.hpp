// Which rows belong to which sequence. A batch of sequences of different lengths is their rows one under another and
// the offsets {0, n0, n0 + n1, ...}: there is no padding anywhere.
#pragma once

#include <algorithm>
#include <initializer_list>
#include <span>
#include <utility>
#include <vector>

#include "eigenformer/core/check.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// The offsets of a ragged batch. Immutable.
///
/// A default-constructed RowOffsets says "none given": all rows are one sequence.
class RowOffsets {
 public:
  RowOffsets() = default;

  /// offsets: 0, then each sequence's end, never falling. Throws if they are not that.
  explicit RowOffsets(std::vector<Index> offsets) {
    check(!offsets.empty() && offsets.front() == 0, "RowOffsets: expected offsets that begin with 0");
    for (std::size_t i = 1; i < offsets.size(); ++i)
      check(offsets[i - 1] <= offsets[i], "RowOffsets: offset ", i, " is ", offsets[i], ", less than the one before, ",
            offsets[i - 1]);
    offsets_ = std::move(offsets);
  }
  RowOffsets(std::initializer_list<Index> offsets) : RowOffsets(std::vector<Index>(offsets)) {}

  /// The offsets of sequences with these numbers of rows.
  static RowOffsets from_lengths(std::span<const Index> lengths) {
    std::vector<Index> offsets{0};
    offsets.reserve(lengths.size() + 1);
    for (const Index length : lengths) offsets.push_back(offsets.back() + length);
    return RowOffsets(std::move(offsets));
  }

  bool given() const { return !offsets_.empty(); }

  // Below, offsets must be given.
  Index sequences() const { return static_cast<Index>(offsets_.size()) - 1; }
  Index rows() const { return offsets_.back(); }
  Index begin(Index sequence) const { return offsets_[static_cast<std::size_t>(sequence)]; }
  Index end(Index sequence) const { return begin(sequence + 1); }
  Index length(Index sequence) const { return end(sequence) - begin(sequence); }
  Index longest() const {
    Index longest = 0;
    for (Index i = 0; i < sequences(); ++i) longest = std::max<Index>(longest, length(i));
    return longest;
  }

  /// These offsets for a matrix of `rows` rows: one sequence of them all if none were given. Throws if they do not fit.
  RowOffsets over(Index rows, const char* where, const char* name) const {
    if (!given()) return RowOffsets{0, rows};
    check(this->rows() == rows, where, ": ", name, " has ", rows, " rows, its offsets end at ", this->rows());
    return *this;
  }

  friend bool operator==(const RowOffsets& a, const RowOffsets& b) { return a.offsets_ == b.offsets_; }

 private:
  std::vector<Index> offsets_;
};

}  // namespace eigenformer::inline EIGENFORMER_ABI
