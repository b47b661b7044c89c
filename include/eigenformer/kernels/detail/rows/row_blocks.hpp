// Divides row-wise kernels into tasks. The division depends only on the shape, so results are identical for any number
// of threads.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>

#include "eigenformer/core/threads.hpp"
#include "eigenformer/kernels/detail/rows/row_pieces.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

/// Returns how many rows make a task of about 5 to 20 microseconds.
inline Index rows_per_task(Index cols) {
  return std::max<Index>(1, 16384 / std::max<Index>(1, cols));
}

/// Calls body(row) for each of `rows` rows of `cols` entries.
template <class Body>
void for_each_row(Threads* threads, Index rows, Index cols, Body&& body) {
  parallel_for(threads, rows, rows_per_task(cols), [&](Index begin, Index end) {
    for (Index i = begin; i < end; ++i) body(i);
  });
}

/// Returns a pointer to row i. The rows of a Ref are contiguous.
template <class AnyRef>
auto* row_begin(AnyRef& matrix, Index i) {
  return matrix.data() + i * matrix.outerStride();
}

/// The rows of a partial sum. Partial sums have the type of the entries. They are added in double, so that rounding
/// errors do not grow with the number of rows.
inline constexpr Index rows_per_sum = 256;

/// Writes the sum of the rows of x, [rows x cols] with contiguous rows, to `sum`. stride: from row to row.
template <class Scalar>
void sum_rows(const Scalar* x, Index stride, Index rows, Index cols, Scalar* sum) {
  constexpr Index width = 64;
  for (Index j = 0; j < cols; j += width) {
    const Index count = std::min<Index>(width, cols - j);
    Sum<Scalar> total[width] = {};
    for (Index begin = 0; begin < rows; begin += rows_per_sum) {
      Scalar part[width] = {};
      for (Index i = begin; i < std::min<Index>(rows, begin + rows_per_sum); ++i)
        for (Index c = 0; c < count; ++c) part[c] += x[i * stride + j + c];
      for (Index c = 0; c < count; ++c) total[c] += static_cast<Sum<Scalar>>(part[c]);
    }
    for (Index c = 0; c < count; ++c) sum[j + c] = static_cast<Scalar>(total[c]);
  }
}

/// Computes sums over rows, such as the gradient of a gain. Sets each of `sums`, with `cols` entries, to the sum of the
/// terms that body adds. body(begin, end, into) adds the terms of rows `begin` to `end` - 1 to `into`, which has one
/// pointer for each of `sums`.
template <class Scalar, std::size_t count, class Body>
void sum_over_rows(Threads* threads, Index rows, Index cols, const std::array<Scalar*, count>& sums, Body&& body) {
  if (rows <= rows_per_sum && rows <= rows_per_task(cols)) {
    for (Scalar* sum : sums) std::fill_n(sum, cols, Scalar(0));
    body(0, rows, sums);
    return;
  }
  // Few blocks, so that their sums need little memory compared with the rows.
  constexpr Index max_blocks = 32;
  const Index grain = std::max<Index>(rows_per_task(cols), (rows + max_blocks - 1) / max_blocks);
  constexpr auto n = static_cast<Index>(count);
  const Index blocks = (rows + grain - 1) / grain;
  Matrix<Scalar> parts(blocks * n, cols);
  Matrix<Sum<Scalar>> totals = Matrix<Sum<Scalar>>::Zero(blocks * n, cols);
  parallel_for(threads, rows, grain, [&](Index begin, Index end) {
    const Index first = begin / grain * n;
    std::array<Scalar*, count> into;
    for (std::size_t k = 0; k < count; ++k) into[k] = row_begin(parts, first + static_cast<Index>(k));
    for (Index i = begin; i < end; i += rows_per_sum) {
      parts.middleRows(first, n).setZero();
      body(i, std::min<Index>(end, i + rows_per_sum), into);
      totals.middleRows(first, n) += parts.middleRows(first, n).template cast<Sum<Scalar>>();
    }
  });
  for (Index block = 1; block < blocks; ++block) totals.topRows(n) += totals.middleRows(block * n, n);
  for (std::size_t k = 0; k < count; ++k)
    for (Index j = 0; j < cols; ++j) sums[k][j] = static_cast<Scalar>(totals(static_cast<Index>(k), j));
}

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
