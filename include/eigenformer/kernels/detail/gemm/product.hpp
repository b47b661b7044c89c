// The dense product beneath every linear layer.
//
// An entry of C = A B is one chain of multiply-adds over k, whatever the shape and the number of threads (see
// register_tile.hpp). Eigen's product sums in another order for other numbers of rows, and asks malloc for its buffers
// at every call. A is read where it lies, its rows or its columns contiguous; B, with any strides, is packed a panel of
// one tile's width at a time, into a buffer on the stack.
#pragma once

#include <algorithm>

#include "eigenformer/core/threads.hpp"
#include "eigenformer/kernels/detail/gemm/register_tile.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

/// The next multiple of a packet's lanes.
template <class Scalar>
constexpr Index padded(Index size) {
  constexpr Index lanes = simd::lanes<Scalar>;
  return (size + lanes - 1) / lanes * lanes;
}

/// Copies B [depth x cols] times `factor` to rows of whole packets, with zeros where it has fewer columns.
template <class Scalar>
void pack_panel(Index depth, Index cols, const Strided<Scalar>& b, const ContiguousRows<Scalar>& panel,
                Scalar factor = 1) {
  constexpr Index lanes = simd::lanes<Scalar>;
  const auto factors = simd::broadcast(factor);
  Index packed = 0;  // of k
  if (b.row_stride == 1) {
    packed = depth / lanes * lanes;
    for (Index k = 0; k < packed; k += lanes)
      for (Index j = 0; j < cols; j += lanes)
        simd::for_each_column(b.data + k + j * b.col_stride, b.col_stride, std::min<Index>(lanes, cols - j),
                              [&](Index i, const simd::Packet<Scalar>& column) {
                                simd::store(panel.row(k + i) + j, simd::multiply(column, factors));
                              });
  }
  for (Index k = packed; k < depth; ++k) {
    Scalar* row = panel.row(k);
    Index j = 0;
    if (b.col_stride == 1)
      for (; j + lanes <= cols; j += lanes) simd::store(row + j, simd::multiply(simd::load(&b(k, j)), factors));
    for (; j < cols; ++j) row[j] = b(k, j) * factor;
    std::fill(row + cols, row + padded<Scalar>(cols), Scalar(0));
  }
}

EIGENFORMER_FLOAT(void pack_panel(Index, Index, const Strided<float>&, const ContiguousRows<float>&, float));
EIGENFORMER_DOUBLE(void pack_panel(Index, Index, const Strided<double>&, const ContiguousRows<double>&, double));

/// C [rows x cols] = start + A [rows x depth] B, where B's rows are whole packets. `start` is as for multiply_tiles.
template <class Scalar>
void multiply_panel(Index rows, Index cols, Index depth, const Strided<Scalar>& a,
                    const ContiguousRows<const Scalar>& b, const ContiguousRows<const Scalar>& start,
                    const ContiguousRows<Scalar>& c) {
  constexpr Index lanes = simd::lanes<Scalar>;
  const Index whole = cols / lanes, rest = cols % lanes;
  if (whole > 0) multiply_packets<Scalar>(rows, whole, depth, a, b, start, c);
  if (rest == 0) return;
  // Through a buffer, since the last packet is wider than what is left of C.
  constexpr Index height = tile_rows(1);
  alignas(64) Scalar edge[height * lanes] = {};
  const Index col = whole * lanes;
  for (Index i = 0; i < rows; i += height) {
    const Index count = std::min<Index>(height, rows - i);
    for (Index r = 0; r < count; ++r)
      for (Index j = 0; j < rest; ++j)
        edge[r * lanes + j] = start.data == nullptr ? Scalar(0) : start.row(i + r)[col + j];
    multiply_rows<Scalar, 1>(count, depth, a.from_row(i), b.from(0, col), {edge, lanes}, {edge, lanes});
    for (Index r = 0; r < count; ++r) std::copy_n(edge + r * lanes, rest, c.row(i + r) + col);
  }
}

EIGENFORMER_FLOAT(void multiply_panel(Index, Index, Index, const Strided<float>&, const ContiguousRows<const float>&,
                                      const ContiguousRows<const float>&, const ContiguousRows<float>&));
EIGENFORMER_DOUBLE(void multiply_panel(Index, Index, Index, const Strided<double>&, const ContiguousRows<const double>&,
                                       const ContiguousRows<const double>&, const ContiguousRows<double>&));

/// C [rows x cols] = start + A [rows x depth] B [depth x cols], by one thread. `start` is as for multiply_tiles.
template <class Scalar>
void multiply_block(Index rows, Index cols, Index depth, const Strided<Scalar>& a, const Strided<Scalar>& b,
                    ContiguousRows<const Scalar> start, const ContiguousRows<Scalar>& c) {
  constexpr Index width = panel_width<Scalar>;
  constexpr Index panel_depth = 256;  // of k
  alignas(64) Scalar panel[panel_depth * width];
  for (Index k = 0; k == 0 || k < depth; k += panel_depth) {
    const Index part = std::min<Index>(panel_depth, depth - k);
    if (k > 0) start = {c.data, c.stride};  // go on where the sums stand
    for (Index j = 0; j < cols; j += width) {
      const Index used = std::min<Index>(width, cols - j);
      pack_panel<Scalar>(part, used, b.from(k, j), {panel, width});
      multiply_panel<Scalar>(rows, used, part, a.from(0, k), {panel, width}, start.from(0, j), c.from(0, j));
    }
  }
}

/// Calls body(first row, rows, first column, columns) for the blocks of a product's result, as tasks. Packing a panel
/// costs some rows' work, so blocks have many rows; where there are few, threads share the columns.
template <class Scalar, class Body>
void for_each_product_block(Index rows, Index cols, Threads* threads, Body body) {
  constexpr Index block_rows = 240;
  constexpr Index block_cols = (127 / panel_width<Scalar> + 1) * panel_width<Scalar>;
  const Index row_blocks = (rows + block_rows - 1) / block_rows;
  const Index col_blocks = (cols + block_cols - 1) / block_cols;
  parallel_for(threads, row_blocks * col_blocks, 1, [&](Index block, Index) {
    const Index i = block / col_blocks * block_rows;
    const Index j = block % col_blocks * block_cols;
    body(i, std::min<Index>(block_rows, rows - i), j, std::min<Index>(block_cols, cols - j));
  });
}

/// C [rows x cols] = A [rows x depth] B [depth x cols], plus a bias row if it is not null, by all threads. Calls
/// finish(first row, rows, first column, columns) for each block of C when it is made, and still near.
template <class Scalar, class Finish>
void multiply(Index rows, Index cols, Index depth, Strided<Scalar> a, Strided<Scalar> b, const Scalar* bias, Scalar* c,
              Index c_stride, Threads* threads, Finish finish) {
  // Without entries they may be null, and null must not be moved along a stride.
  if (depth == 0) {
    a = {nullptr, 0, 1};
    b = {};
  }
  for_each_product_block<Scalar>(rows, cols, threads, [&](Index i, Index block_rows, Index j, Index block_cols) {
    multiply_block<Scalar>(block_rows, block_cols, depth, a.from(i, 0), b.from(0, j),
                           {bias == nullptr ? nullptr : bias + j, 0}, {c + i * c_stride + j, c_stride});
    finish(i, block_rows, j, block_cols);
  });
}
template <class Scalar>
void multiply(Index rows, Index cols, Index depth, const Strided<Scalar>& a, const Strided<Scalar>& b,
              const Scalar* bias, Scalar* c, Index c_stride, Threads* threads) {
  multiply(rows, cols, depth, a, b, bias, c, c_stride, threads, [](Index, Index, Index, Index) {});
}

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
