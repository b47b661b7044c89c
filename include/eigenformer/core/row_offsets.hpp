// The offsets of a ragged batch. A batch stacks the rows of sequences of different lengths without padding; the offsets
// {0, n0, n0 + n1, ...} say where each sequence begins and ends.
#pragma once

#include <algorithm>
#include <initializer_list>
#include <iterator>
#include <limits>
#include <numeric>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include "eigenformer/core/check.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// A range of integers of at least two bytes, which excludes bool and char.
template <class Range>
concept WholeNumbers = requires(const Range& range) {
  requires std::is_integral_v<std::remove_cvref_t<decltype(*std::begin(range))>> && sizeof(*std::begin(range)) >= 2;
  std::end(range);
};

namespace detail {

template <WholeNumbers Range>
std::vector<Index> indices(const Range& range) {
  std::vector<Index> indices;
  for (auto i = std::begin(range); i != std::end(range); ++i) indices.push_back(static_cast<Index>(*i));
  return indices;
}

/// The end of an error message when the given offsets look like lengths.
inline constexpr const char* from_lengths_hint = "; for lengths use RowOffsets::from_lengths";

}  // namespace detail

/// The offsets of a ragged batch. Immutable. It owns its offsets, unless it is a view().
///
/// A default-constructed RowOffsets means "none given": all rows form one sequence.
class RowOffsets {
 public:
  RowOffsets() = default;

  /// offsets: 0, then the end of each sequence, never decreasing. Any vector, array or span of integers, or a braced
  /// list. Throws if they are empty, begin with another number than 0, or decrease.
  RowOffsets(std::vector<Index> offsets) {  // NOLINT: implicit, like the constructors below
    check(!offsets.empty(), "RowOffsets: no offsets were given, expected a 0 and each sequence's end");
    check(offsets.front() == 0, "RowOffsets: expected offsets that begin with 0, given ", offsets.front(),
          detail::from_lengths_hint);
    for (std::size_t i = 1; i < offsets.size(); ++i)
      check(offsets[i - 1] <= offsets[i], "RowOffsets: offset ", i, " is ", offsets[i], ", less than the one before, ",
            offsets[i - 1], detail::from_lengths_hint);
    owned_ = std::move(offsets);
  }
  RowOffsets(std::initializer_list<Index> offsets) : RowOffsets(std::vector<Index>(offsets)) {}
  template <WholeNumbers Offsets>
  RowOffsets(const Offsets& offsets) {  // NOLINT: implicit
    *this = RowOffsets(detail::indices(offsets));
  }

  /// Returns the offsets of sequences with these lengths. Any vector, array or span of integers, or a braced list.
  /// Throws if a length is negative or their sum overflows an Index.
  template <WholeNumbers Lengths>
  static RowOffsets from_lengths(const Lengths& lengths) {
    return from_indices(detail::indices(lengths));
  }
  static RowOffsets from_lengths(std::initializer_list<Index> lengths) { return from_indices(lengths); }

  /// Returns a view of the caller's offsets, which must stay alive and unchanged while the result or a copy of it is in
  /// use. Allocates no memory, nor do copies. The offsets are not checked: they must begin with 0 and not decrease.
  static RowOffsets view(std::span<const Index> offsets) {
    RowOffsets rows;
    rows.view_ = offsets;
    return rows;
  }

  bool given() const { return !offsets().empty(); }

  // The functions from sequences() to max_length() require given offsets.
  Index sequences() const { return static_cast<Index>(offsets().size()) - 1; }
  Index rows() const { return offsets().back(); }
  Index begin(Index sequence) const { return offsets()[static_cast<std::size_t>(sequence)]; }
  Index end(Index sequence) const { return begin(sequence + 1); }
  Index length(Index sequence) const { return end(sequence) - begin(sequence); }
  Index max_length() const {
    Index longest = 0;
    for (Index i = 0; i < sequences(); ++i) longest = std::max<Index>(longest, length(i));
    return longest;
  }

  /// Returns the offsets to use for a matrix of `rows` rows: these, or one sequence of all rows if none were given.
  /// Throws if they do not end at `rows`; `where` and `name` go into the message.
  RowOffsets for_rows(Index rows, const char* where, const char* name) const {
    if (!given()) return RowOffsets{0, rows};
    if (this->rows() != rows)
      fail(where, ": ", name, " has ", rows, " rows, its offsets end at ", this->rows(),
           std::accumulate(offsets().begin(), offsets().end(), Index{0}) == rows ? detail::from_lengths_hint : "");
    return *this;
  }

  friend bool operator==(const RowOffsets& a, const RowOffsets& b) {
    return std::equal(a.offsets().begin(), a.offsets().end(), b.offsets().begin(), b.offsets().end());
  }

 private:
  std::span<const Index> offsets() const { return view_.empty() ? std::span<const Index>(owned_) : view_; }

  static RowOffsets from_indices(std::vector<Index> lengths) {
    Index end = 0;
    for (std::size_t i = 0; i < lengths.size(); ++i) {
      check(lengths[i] >= 0 && lengths[i] <= (std::numeric_limits<Index>::max)() - end,
            "RowOffsets::from_lengths: length ", i, " is ", lengths[i],
            ", expected 0 or more, and a sum that an Index can hold");
      end += lengths[i];
      lengths[i] = end;
    }
    lengths.insert(lengths.begin(), 0);
    return RowOffsets(std::move(lengths));
  }

  std::vector<Index> owned_;
  std::span<const Index> view_;  // empty: the offsets are owned
};

}  // namespace eigenformer::inline EIGENFORMER_ABI
