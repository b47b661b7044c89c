// Divides row-wise kernels into tasks. The division depends only on the shape, so results are identical for any number
// of threads.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>

#include "eigenformer/core/threads.hpp"

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

/// Computes sums over rows, such as the gradient of a bias. Sets each of `sums`, with `cols` entries, to the sum of the
/// terms that body adds. body(begin, end, into) adds the terms of rows `begin` to `end` - 1 to `into`, which has one
/// pointer for each of `sums`.
template <class Scalar, std::size_t count, class Body>
void sum_over_rows(Threads* threads, Index rows, Index cols, const std::array<Scalar*, count>& sums, Body&& body) {
  for (Scalar* sum : sums) std::fill(sum, sum + cols, Scalar(0));
  // Few blocks, so that their sums need little memory compared with the rows.
  constexpr Index max_blocks = 32;
  const Index grain = std::max<Index>(rows_per_task(cols), (rows + max_blocks - 1) / max_blocks);
  const Index blocks = (rows + grain - 1) / grain;
  if (blocks <= 1) {
    body(0, rows, sums);
    return;
  }
  constexpr auto n = static_cast<Index>(count);
  Matrix<Scalar> others = Matrix<Scalar>::Zero((blocks - 1) * n, cols);  // the first block adds directly to `sums`
  parallel_for(threads, rows, grain, [&](Index begin, Index end) {
    std::array<Scalar*, count> into = sums;
    if (begin > 0)
      for (std::size_t k = 0; k < count; ++k)
        into[k] = row_begin(others, (begin / grain - 1) * n + static_cast<Index>(k));
    body(begin, end, into);
  });
  for (Index i = 0; i < others.rows(); ++i)
    Eigen::Map<Eigen::Array<Scalar, 1, Eigen::Dynamic>>(sums[static_cast<std::size_t>(i % n)], cols) +=
        others.row(i).array();
}

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
