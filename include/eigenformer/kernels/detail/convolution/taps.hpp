// The rows that the taps of a convolution read, within each sequence.
#pragma once

#include <algorithm>

#include "eigenformer/core/row_offsets.hpp"
#include "eigenformer/kernels/detail/gemm/product.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

/// Calls body(sequence, first row, end row) for the part of each sequence among rows `begin` to `end` - 1.
template <class Body>
void for_each_part(const RowOffsets& rows, Index begin, Index end, Body body) {
  Index sequence = 0;
  for (Index high = rows.sequences(); sequence < high;) {  // find the first sequence that ends after `begin`
    const Index middle = (sequence + high) / 2;
    if (rows.end(middle) <= begin)
      sequence = middle + 1;
    else
      high = middle;
  }
  for (; sequence < rows.sequences() && rows.begin(sequence) < end; ++sequence)
    body(sequence, std::max<Index>(begin, rows.begin(sequence)), std::min<Index>(end, rows.end(sequence)));
}

/// The distances of the taps from their token: first, first + step, ..
struct Taps {
  Index count;
  Index first;
  Index step;
  Index shift(Index tap) const { return first + tap * step; }
};

/// The rows of the sequences, and the taps by which each token reads them.
template <class Scalar>
struct TappedRows {
  ConstMatrixRef<Scalar> x;  // [tokens x inputs]
  RowOffsets rows;           // of the sequences; rows outside a token's own sequence count as zeros
  Taps taps;
};

/// Writes y_i = start + sum over k of x_(i + shift(k)) B_k. Rows of x outside the sequence of i count as zeros.
/// - start: a row, or null for zeros
/// - panel_of(k, row, rows, col, cols, buffer): returns that part of B_k in whole packets; may pack it into `buffer`
template <class Scalar, class PanelOf>
void multiply_taps(const TappedRows<Scalar>& in, const Scalar* start, MatrixRef<Scalar>& y, Threads* threads,
                   PanelOf panel_of) {
  const ConstMatrixRef<Scalar>& x = in.x;
  const RowOffsets& rows = in.rows;
  const Taps taps = in.taps;
  constexpr Index width = panel_width<Scalar>;
  constexpr Index panel_depth = 256;
  const Index depth = x.cols();
  for_each_product_block<Scalar>(y.rows(), y.cols(), threads, [&](Index i, Index block_rows, Index j, Index cols) {
    for (Index row = i; row < i + block_rows; ++row) {
      Scalar* const entries = y.data() + row * y.outerStride() + j;
      if (start == nullptr)
        std::fill_n(entries, cols, Scalar(0));
      else
        std::copy_n(start + j, cols, entries);
    }
    alignas(64) Scalar buffer[panel_depth * width];
    for (Index k = 0; k < taps.count && depth > 0; ++k)
      for (Index from = 0; from < depth; from += panel_depth)
        for (Index col = j; col < j + cols; col += width) {
          const Index part = std::min<Index>(panel_depth, depth - from), used = std::min<Index>(width, j + cols - col);
          const ContiguousRows<const Scalar> panel = panel_of(k, from, part, col, used, buffer);
          const Index shift = taps.shift(k);
          for_each_part(rows, i, i + block_rows, [&](Index sequence, Index first, Index end) {
            first = std::max<Index>(first, rows.begin(sequence) - shift);
            end = std::min<Index>(end, rows.end(sequence) - shift);
            if (first >= end) return;
            const ContiguousRows<Scalar> sums{y.data() + first * y.outerStride() + col, y.outerStride()};
            multiply_panel<Scalar>({.rows = end - first,
                                    .cols = used,
                                    .depth = part,
                                    .a = {x.data() + (first + shift) * x.outerStride() + from, x.outerStride(), 1},
                                    .b = panel,
                                    .start = {sums.data, sums.stride},
                                    .c = sums});
          });
        }
  });
}

/// Packs a block of the unfolded x into `panel`: `depth` rows from `row` on, and `cols` columns from `col` on. The
/// unfolded x is [tokens x kernel * inputs]. Each of its rows holds the rows of x that the taps read, side by side,
/// with zeros outside the sequence.
template <class Scalar>
void pack_unfolded(const TappedRows<Scalar>& in, Index row, Index depth, Index col, Index cols,
                   const ContiguousRows<Scalar>& panel) {
  const ConstMatrixRef<Scalar>& x = in.x;
  const RowOffsets& rows = in.rows;
  for (Index done = 0, count = 0; done < cols; done += count) {
    const Index tap = (col + done) / x.cols(), input = (col + done) % x.cols(), shift = in.taps.shift(tap);
    count = std::min<Index>(cols - done, x.cols() - input);
    for_each_part(rows, row, row + depth, [&](Index sequence, Index first, Index end) {
      for (Index i = first; i < end; ++i) {
        Scalar* const to = panel.row(i - row) + done;
        if (i + shift >= rows.begin(sequence) && i + shift < rows.end(sequence))
          std::copy_n(x.data() + (i + shift) * x.outerStride() + input, count, to);
        else
          std::fill_n(to, count, Scalar(0));
      }
    });
  }
  for (Index i = 0; i < depth; ++i) std::fill(panel.row(i) + cols, panel.row(i) + padded<Scalar>(cols), Scalar(0));
}

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
