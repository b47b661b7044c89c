// Pooling: reduces ranges of rows to one row each, by the maximum or the mean of each feature.
#pragma once

#include <algorithm>
#include <span>
#include <vector>

#include "eigenformer/core/row_offsets.hpp"
#include "eigenformer/kernels/detail/rows/row_blocks.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// How the rows of a range are reduced, for each feature.
enum class Pooling { maximum, mean };

/// Windows of `size` rows within each sequence, one every `stride` rows.
///
/// Windows begin at rows 0, stride, 2 stride, .. of a sequence. The first window that reaches the end of the sequence
/// is the last one. A window that extends beyond the end is shortened, and none begins beyond it. Hence:
/// - If stride <= size, every row is in a window.
/// - A sequence shorter than `size` gives one row, and an empty sequence none.
/// - For sequences of at least `size` rows, this is PyTorch's ceil_mode=True.
struct PoolingWindow {
  Index size = 2;
  Index stride = 0;  // 0: size

  /// The number of windows in a sequence of `length` rows. Throws if the window is not valid, or length is negative.
  Index count(Index length) const {
    check_window();
    check(length >= 0, "pooling: a sequence of ", length, " rows, expected 0 or more");
    const Index step = stride == 0 ? size : stride;
    if (length == 0) return 0;
    const Index to_the_end = length <= size ? 1 : (length - size - 1) / step + 2;  // sums with `step` could overflow
    return std::min<Index>(to_the_end, (length - 1) / step + 1);
  }
  /// Throws if the window is not valid.
  void check_window() const {
    check(size >= 1 && stride >= 0, "pooling: size is ", size, ", stride ", stride,
          ", expected a size of 1 or more and a stride of 0 (the size) or more");
  }
};

/// Rows `begin` to `end` - 1 of a batch, which are pooled into one row.
struct RowRange {
  Index begin;
  Index end;
  friend bool operator==(const RowRange&, const RowRange&) = default;
};

/// Returns the row offsets of the pooled sequences. Throws if `rows` is not given, or the window is not valid.
inline RowOffsets pooled_rows(const RowOffsets& rows, const PoolingWindow& window) {
  window.check_window();
  check(rows.given(), "pooling: expected the sequences' offsets");
  std::vector<Index> lengths;
  for (Index s = 0; s < rows.sequences(); ++s) lengths.push_back(window.count(rows.length(s)));
  return RowOffsets::from_lengths(lengths);
}

/// Returns the range of rows that is pooled into each row of the pooled sequences. Throws as pooled_rows does.
inline std::vector<RowRange> pooling_ranges(const RowOffsets& rows, const PoolingWindow& window) {
  const RowOffsets pooled = pooled_rows(rows, window);
  const Index stride = window.stride == 0 ? window.size : window.stride;
  std::vector<RowRange> ranges;
  ranges.reserve(static_cast<std::size_t>(pooled.rows()));
  for (Index s = 0; s < rows.sequences(); ++s)
    for (Index i = 0; i < pooled.length(s); ++i) {
      const Index begin = rows.begin(s) + i * stride;
      ranges.push_back({begin, begin + std::min<Index>(window.size, rows.end(s) - begin)});
    }
  return ranges;
}

/// Returns each sequence as one range, empty ones included. Throws if `rows` is not given.
inline std::vector<RowRange> sequence_ranges(const RowOffsets& rows) {
  check(rows.given(), "pooling: expected the sequences' offsets");
  std::vector<RowRange> ranges;
  for (Index s = 0; s < rows.sequences(); ++s) ranges.push_back({rows.begin(s), rows.end(s)});
  return ranges;
}

namespace detail {

inline void check_ranges(std::span<const RowRange> ranges, Index rows) {
  for (const RowRange& range : ranges)
    check(range.begin >= 0 && range.begin <= range.end && range.end <= rows, "pooling: rows ", range.begin, " to ",
          range.end, " do not exist, x has ", rows, " rows");
}

/// Whether `x` replaces `largest`. The first of equal entries stays; NaN is larger than any number.
template <class Scalar>
bool is_larger(Scalar x, Scalar largest) {
  return x > largest || (x != x && largest == largest);
}

}  // namespace detail

/// Writes y_i = the maximum or mean of rows ranges[i] of x, and zeros for an empty range. A NaN in a range gives NaN.
/// x: [tokens x features]; y: [ranges x features]; must not be x. Throws, before it writes, if a range is not within x
/// or the shape of y does not fit.
template <class Scalar>
void pool_forward(Pooling pooling, const ConstMatrixRef<Scalar>& x, std::span<const RowRange> ranges,
                  MatrixRef<Scalar> y, Threads* threads = nullptr) {
  check_shape("pooling", "y", shape(y), {static_cast<Index>(ranges.size()), x.cols()});
  detail::check_ranges(ranges, x.rows());
  detail::for_each_row(threads, y.rows(), x.cols(), [&](Index i) {
    const RowRange& range = ranges[static_cast<std::size_t>(i)];
    const Index cols = x.cols();
    Scalar* y_row = detail::row_begin(y, i);
    if (range.begin == range.end) {
      std::fill_n(y_row, cols, Scalar(0));
      return;
    }
    const Index count = range.end - range.begin;
    if (pooling == Pooling::mean) {
      detail::sum_rows(detail::row_begin(x, range.begin), x.outerStride(), count, cols, y_row);
      for (Index j = 0; j < cols; ++j) y_row[j] /= static_cast<Scalar>(count);
      return;
    }
    std::copy_n(detail::row_begin(x, range.begin), cols, y_row);
    for (Index row = range.begin + 1; row < range.end; ++row) {
      const Scalar* x_row = detail::row_begin(x, row);
      for (Index j = 0; j < cols; ++j) y_row[j] = detail::is_larger(x_row[j], y_row[j]) ? x_row[j] : y_row[j];
    }
  });
}

/// Writes d_x, the gradient of pool_forward:
/// - Maximum: each entry of d_y goes to the first largest entry of its range.
/// - Mean: each entry of d_y is divided equally among the rows of its range.
///
/// Rows in several ranges get the sum; rows in none get zeros. x, d_x: [tokens x features], d_y: [ranges x features].
/// Throws, before it writes, if a range is not within x or shapes do not fit.
template <class Scalar>
void pool_backward(Pooling pooling, const ConstMatrixRef<Scalar>& x, std::span<const RowRange> ranges,
                   const ConstMatrixRef<Scalar>& d_y, MatrixRef<Scalar> d_x, Threads* threads = nullptr) {
  check_shape("pooling", "d_y", shape(d_y), {static_cast<Index>(ranges.size()), x.cols()});
  check_shape("pooling", "d_x", shape(d_x), shape(x));
  detail::check_ranges(ranges, x.rows());
  // Ranges may overlap, so tasks divide the columns. One task then computes all sums of a column, in the order of
  // ranges.
  const Index grain = std::max<Index>(64, 32768 / std::max<Index>(1, x.rows()));
  parallel_for(threads, x.cols(), grain, [&](Index begin, Index end) {
    d_x.middleCols(begin, end - begin).setZero();
    std::vector<Index> largest(static_cast<std::size_t>(end - begin));  // row of the maximum, per column
    for (std::size_t i = 0; i < ranges.size(); ++i) {
      const RowRange& range = ranges[i];
      if (range.begin == range.end) continue;
      const Scalar* d_y_row = detail::row_begin(d_y, static_cast<Index>(i));
      if (pooling == Pooling::mean) {
        const auto count = static_cast<Scalar>(range.end - range.begin);
        for (Index row = range.begin; row < range.end; ++row)
          for (Index j = begin; j < end; ++j) d_x(row, j) += d_y_row[j] / count;
        continue;
      }
      std::fill(largest.begin(), largest.end(), range.begin);
      for (Index row = range.begin + 1; row < range.end; ++row)
        for (Index j = begin; j < end; ++j) {
          Index& best = largest[static_cast<std::size_t>(j - begin)];
          if (detail::is_larger(x(row, j), x(best, j))) best = row;
        }
      for (Index j = begin; j < end; ++j) d_x(largest[static_cast<std::size_t>(j - begin)], j) += d_y_row[j];
    }
  });
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
