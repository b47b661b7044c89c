// The dense product beneath every linear layer.
//
// Every entry of C = A B is one chain of multiply-adds over k = 0, 1, 2, .. in that order, whatever the shape and the
// number of threads; so a row's result does not depend on how many other rows there are, to the last bit. (Eigen's
// product sums in another order for other numbers of rows, and asks malloc for its buffers at every call.)
//
// A register tile is a few rows of C by two packets of its columns. B is packed a panel of two packets' width at a
// time, into a buffer on the stack that stays in the first-level cache; A's entries are broadcast from where they lie,
// with any strides, so neither A nor its transpose is copied.
#pragma once

#include <algorithm>

#include "eigenformer/core/simd.hpp"
#include "eigenformer/core/threads.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

/// A matrix by its strides: entry (i, j) is data[i * row_stride + j * col_stride].
template <class Scalar>
struct Strided {
  const Scalar* data;
  Index row_stride;
  Index col_stride;

  const Scalar& operator()(Index i, Index j) const { return data[i * row_stride + j * col_stride]; }
  Strided from(Index row, Index col) const {
    return {data + row * row_stride + col * col_stride, row_stride, col_stride};
  }
  Strided from_row(Index row) const { return from(row, 0); }
};

/// The transpose of a strided matrix.
template <class Scalar>
Strided<Scalar> transposed(const Strided<Scalar>& m) {
  return {m.data, m.col_stride, m.row_stride};
}

/// Rows of contiguous entries, one every `stride` entries. With a stride of 0 one row stands for all.
template <class Scalar>
struct ContiguousRows {
  Scalar* data;
  Index stride;

  Scalar* row(Index i) const { return data + i * stride; }
  ContiguousRows from(Index row, Index col) const { return {data + row * stride + col, stride}; }
};

template <class Scalar>
inline constexpr Index panel_width = 2 * simd::lanes<Scalar>;
inline constexpr int tile_rows = simd::registers >= 32 ? 12 : 6;  // leaves registers for a broadcast and two loads
inline constexpr Index panel_depth = 256;                         // of k: a panel of float takes 16 KB with AVX

/// C [rows x panel width] = start + A [rows x depth] panel [depth x panel width], `tiles` times one below the other.
/// `start` is C itself, or a row that stands for all rows, or null for zero.
/// Not inlined: each of its callers would have all tiles anew, to compile and to hold.
template <class Scalar, int rows>
EIGEN_DONT_INLINE void multiply_tiles(Index tiles, Index depth, Strided<Scalar> a, ContiguousRows<const Scalar> panel,
                                      ContiguousRows<const Scalar> start, ContiguousRows<Scalar> c) {
  constexpr int lanes = simd::lanes<Scalar>;
  for (; tiles > 0; --tiles) {
    simd::Packet<Scalar> sums[rows][2];
    simd::unroll<rows>([&](auto i) {
      sums[i][0] = start.data == nullptr ? simd::broadcast(Scalar(0)) : simd::load(start.row(i));
      sums[i][1] = start.data == nullptr ? simd::broadcast(Scalar(0)) : simd::load(start.row(i) + lanes);
    });
    const Scalar* a_entry = a.data;
    const Scalar* b_row = panel.data;
    for (Index k = 0; k < depth; ++k) {
      const simd::Packet<Scalar> b0 = simd::load(b_row);
      const simd::Packet<Scalar> b1 = simd::load(b_row + lanes);
      simd::unroll<rows>([&](auto i) {
        const simd::Packet<Scalar> x = simd::broadcast(a_entry[i * a.row_stride]);
        sums[i][0] = simd::multiply_add(x, b0, sums[i][0]);
        sums[i][1] = simd::multiply_add(x, b1, sums[i][1]);
      });
      a_entry += a.col_stride;
      b_row += panel.stride;
    }
    simd::unroll<rows>([&](auto i) {
      simd::store(c.row(i), sums[i][0]);
      simd::store(c.row(i) + lanes, sums[i][1]);
    });
    a.data += rows * a.row_stride;
    c.data += rows * c.stride;
    if (start.data != nullptr) start.data += rows * start.stride;
  }
}

/// The same for tiles of `height` rows, at most `rows`.
template <class Scalar, int rows = tile_rows>
void multiply_tiles_of(Index height, Index tiles, Index depth, const Strided<Scalar>& a,
                       const ContiguousRows<const Scalar>& panel, const ContiguousRows<const Scalar>& start,
                       const ContiguousRows<Scalar>& c) {
  if constexpr (rows > 1)
    if (height < rows) return multiply_tiles_of<Scalar, rows - 1>(height, tiles, depth, a, panel, start, c);
  multiply_tiles<Scalar, rows>(tiles, depth, a, panel, start, c);
}

/// The same for any number of rows, in tiles of nearly equal height: a low one at the end would keep too few sums going
/// at once to hide their latency.
template <class Scalar>
void multiply_rows(Index count, Index depth, const Strided<Scalar>& a, const ContiguousRows<const Scalar>& panel,
                   const ContiguousRows<const Scalar>& start, const ContiguousRows<Scalar>& c) {
  if (count <= 0) return;
  const Index tiles = (count + tile_rows - 1) / tile_rows;
  const Index height = count / tiles;
  const Index higher = count % tiles;  // tiles that have a row more, first
  const Index done = higher * (height + 1);
  if (higher > 0) multiply_tiles_of<Scalar>(height + 1, higher, depth, a, panel, start, c);
  multiply_tiles_of<Scalar>(height, tiles - higher, depth, a.from_row(done), panel,
                            {start.data == nullptr ? nullptr : start.row(done), start.stride}, c.from(done, 0));
}

/// Copies B [depth x cols] into a panel, with zeros where it has fewer columns.
template <class Scalar>
void pack_panel(Index depth, Index cols, const Strided<Scalar>& b, Scalar* panel) {
  constexpr Index width = panel_width<Scalar>;
  if (cols == width && b.col_stride == 1) {
    for (Index k = 0; k < depth; ++k) std::copy_n(b.data + k * b.row_stride, width, panel + k * width);
    return;
  }
  if (cols < width) std::fill_n(panel, depth * width, Scalar(0));
  constexpr Index lanes = simd::lanes<Scalar>;
  Index packed = 0;  // of k
  if (cols == width && b.row_stride == 1) {
    for (; packed + lanes <= depth; packed += lanes)
      for (Index j = 0; j < width; j += lanes)
        simd::transpose(b.data + packed + j * b.col_stride, b.col_stride, panel + packed * width + j, width);
  }
  for (Index j = 0; j < cols; ++j)
    for (Index k = packed; k < depth; ++k) panel[k * width + j] = b.data[k * b.row_stride + j * b.col_stride];
}

/// C [rows x cols] = start + A [rows x depth] B, where B [depth x cols] is packed into a panel.
template <class Scalar>
void multiply_panel(Index rows, Index cols, Index depth, const Strided<Scalar>& a, const Scalar* panel,
                    const ContiguousRows<const Scalar>& start, const ContiguousRows<Scalar>& c) {
  constexpr Index width = panel_width<Scalar>;
  if (cols == width) return multiply_rows<Scalar>(rows, depth, a, {panel, width}, start, c);
  // Through a buffer, since the tile is wider than C.
  alignas(64) Scalar edge[tile_rows * width] = {};
  for (Index i = 0; i < rows; i += tile_rows) {
    const Index count = std::min<Index>(tile_rows, rows - i);
    for (Index r = 0; r < count; ++r)
      for (Index j = 0; j < cols; ++j) edge[r * width + j] = start.data == nullptr ? Scalar(0) : start.row(i + r)[j];
    multiply_rows<Scalar>(count, depth, a.from_row(i), {panel, width}, {edge, width}, {edge, width});
    for (Index r = 0; r < count; ++r) std::copy_n(edge + r * width, cols, c.row(i + r));
  }
}

/// C [rows x cols] = start + A [rows x depth] B [depth x cols], by one thread. `start` is as for multiply_tiles.
template <class Scalar>
void multiply_block(Index rows, Index cols, Index depth, const Strided<Scalar>& a, const Strided<Scalar>& b,
                    ContiguousRows<const Scalar> start, const ContiguousRows<Scalar>& c) {
  constexpr Index width = panel_width<Scalar>;
  alignas(64) Scalar panel[panel_depth * width];
  for (Index k = 0; k == 0 || k < depth; k += panel_depth) {
    const Index part = std::min(panel_depth, depth - k);
    if (k > 0) start = {c.data, c.stride};  // go on where the sums stand
    for (Index j = 0; j < cols; j += width) {
      const Index used = std::min(width, cols - j);
      pack_panel(part, used, b.from(k, j), panel);
      multiply_panel<Scalar>(rows, used, part, a.from(0, k), panel,
                             {start.data == nullptr ? nullptr : start.data + j, start.stride}, c.from(0, j));
    }
  }
}

/// C [rows x cols] = A [rows x depth] B [depth x cols], plus a bias row if it is not null, by all threads.
template <class Scalar>
void multiply(Index rows, Index cols, Index depth, Strided<Scalar> a, Strided<Scalar> b, const Scalar* bias, Scalar* c,
              Index c_stride, Threads* threads) {
  if (depth == 0) a = b = {};  // without entries they may be null, and null must not be moved along a stride
  // Packing a panel costs some rows' work, so blocks have many rows; where there are few, threads share the columns.
  constexpr Index block_rows = 240;
  constexpr Index block_cols = 8 * panel_width<Scalar>;
  const Index row_blocks = (rows + block_rows - 1) / block_rows;
  const Index col_blocks = (cols + block_cols - 1) / block_cols;
  parallel_for(threads, row_blocks * col_blocks, 1, [&](Index block, Index) {
    const Index i = block / col_blocks * block_rows;
    const Index j = block % col_blocks * block_cols;
    multiply_block<Scalar>(std::min(block_rows, rows - i), std::min(block_cols, cols - j), depth, a.from(i, 0),
                           b.from(0, j), {bias == nullptr ? nullptr : bias + j, 0}, {c + i * c_stride + j, c_stride});
  });
}

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
