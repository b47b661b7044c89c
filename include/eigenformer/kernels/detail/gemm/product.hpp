// The matrix product behind every linear layer.
//
// An entry of C = A B is one chain of multiply-adds over k, whatever the shape and the number of threads (see
// register_tile.hpp). Eigen's product changes the order of its sums with the number of rows, and allocates its buffers
// at every call. A is read in place; its rows or columns must be contiguous. B may have any strides. It is packed into
// a buffer on the stack, one panel at a time. A panel is as wide as the widest register tile.
#pragma once

#include <algorithm>

#include "eigenformer/core/threads.hpp"
#include "eigenformer/kernels/detail/gemm/register_tile.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

/// Returns `size`, rounded up to a multiple of a packet's lanes.
template <class Scalar>
constexpr Index padded(Index size) {
  constexpr Index lanes = simd::lanes<Scalar>;
  return (size + lanes - 1) / lanes * lanes;
}

/// Copies B [depth x cols] times `factor` to `panel`. Pads rows to whole packets with zeros.
template <class Scalar>
void pack_panel(Index depth, Index cols, const Strided<Scalar>& b, const ContiguousRows<Scalar>& panel,
                Scalar factor = 1) {
  constexpr Index lanes = simd::lanes<Scalar>;
  const auto factors = simd::broadcast(factor);
  Index packed = 0;  // rows of B
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

/// Computes C = start + A B. B's rows must be whole packets; C's need not be.
template <class Scalar>
void multiply_panel(const PackedProduct<Scalar>& product) {
  constexpr Index lanes = simd::lanes<Scalar>;
  const Index whole = product.cols / lanes * lanes, rest = product.cols % lanes;
  if (whole > 0) multiply_packets<Scalar>(product.columns(0, whole));
  if (rest == 0) return;
  // Through a buffer, because the last packet is wider than the rest of C.
  constexpr Index height = tile_rows(1);
  alignas(64) Scalar edge[height * lanes] = {};
  const PackedProduct<Scalar> last = product.columns(whole, rest);
  for (Index i = 0; i < last.rows; i += height) {
    const Index count = std::min<Index>(height, last.rows - i);
    for (Index r = 0; r < count; ++r)
      for (Index j = 0; j < rest; ++j)
        edge[r * lanes + j] = last.start.data == nullptr ? Scalar(0) : last.start.row(i + r)[j];
    multiply_rows<Scalar, 1>({.rows = count,
                              .cols = lanes,
                              .depth = last.depth,
                              .a = last.a.from_row(i),
                              .b = last.b,
                              .start = {edge, lanes},
                              .c = {edge, lanes}});
    for (Index r = 0; r < count; ++r) std::copy_n(edge + r * lanes, rest, last.c.row(i + r));
  }
}

EIGENFORMER_FLOAT(void multiply_panel(const PackedProduct<float>&));
EIGENFORMER_DOUBLE(void multiply_panel(const PackedProduct<double>&));

/// Computes C = start + A B on the calling thread.
template <class Scalar>
void multiply_block(const Product<Scalar>& product) {
  constexpr Index width = panel_width<Scalar>;
  constexpr Index panel_depth = 256;  // rows of B
  alignas(64) Scalar panel[panel_depth * width];
  ContiguousRows<const Scalar> start = product.start;
  for (Index k = 0; k == 0 || k < product.depth; k += panel_depth) {
    const Index depth = std::min<Index>(panel_depth, product.depth - k);
    if (k > 0) start = {product.c.data, product.c.stride};  // continue from the sums so far
    for (Index j = 0; j < product.cols; j += width) {
      const Index cols = std::min<Index>(width, product.cols - j);
      pack_panel<Scalar>(depth, cols, product.b.from(k, j), {panel, width});
      multiply_panel<Scalar>({.rows = product.rows,
                              .cols = cols,
                              .depth = depth,
                              .a = product.a.from(0, k),
                              .b = {panel, width},
                              .start = start.from(0, j),
                              .c = product.c.from(0, j)});
    }
  }
}

/// The shape of the blocks of a product's result.
struct ProductBlocks {
  Index rows, cols;
};

/// Returns the shape of blocks whose columns are whole panels. Packing a panel costs as much as computing a few rows,
/// so blocks have many rows. If there are few rows, threads share the columns.
template <class Scalar>
constexpr ProductBlocks blocks_of_panels() {
  return {240, (127 / panel_width<Scalar> + 1) * panel_width<Scalar>};
}

/// Returns the shape of the blocks of a product's result [rows x cols]. If the result is a single block, such as the
/// gradient of a small weight, and there are threads, they share its columns. Larger results keep their blocks: narrow
/// ones would read the other operand more often. Blocks do not change results.
template <class Scalar>
ProductBlocks product_blocks(Index rows, Index cols, const Threads* threads) {
  ProductBlocks blocks = blocks_of_panels<Scalar>();
  constexpr Index few_rows = 64;
  if (threads == nullptr || rows < few_rows || rows > blocks.rows || cols > blocks.cols) return blocks;
  blocks.cols = cols > 64 ? 64 : 32;
  return blocks;
}

/// Calls body(first row, rows, first column, columns) for each block of a product's result, in parallel.
template <class Scalar, class Body>
void for_each_product_block(Index rows, Index cols, Threads* threads, Body body,
                            ProductBlocks blocks = blocks_of_panels<Scalar>()) {
  const Index row_blocks = (rows + blocks.rows - 1) / blocks.rows;
  const Index col_blocks = (cols + blocks.cols - 1) / blocks.cols;
  parallel_for(threads, row_blocks * col_blocks, 1, [&](Index block, Index) {
    const Index i = block / col_blocks * blocks.rows;
    const Index j = block % col_blocks * blocks.cols;
    body(i, std::min<Index>(blocks.rows, rows - i), j, std::min<Index>(blocks.cols, cols - j));
  });
}

/// Computes C = start + A B in parallel. Calls epilogue(first row, rows, first column, columns) for each block of C as
/// soon as it is computed, while it is still in the cache.
template <class Scalar, class Epilogue>
void multiply(Product<Scalar> product, Threads* threads, Epilogue epilogue) {
  // Empty operands may be null, and null must not be offset by a stride.
  if (product.depth == 0) {
    product.a = {nullptr, 0, 1};
    product.b = {};
  }
  for_each_product_block<Scalar>(
      product.rows, product.cols, threads,
      [&](Index i, Index rows, Index j, Index cols) {
        Product<Scalar> block = product.from_row(i).columns(j, cols);
        block.rows = rows;
        multiply_block<Scalar>(block);
        epilogue(i, rows, j, cols);
      },
      product_blocks<Scalar>(product.rows, product.cols, threads));
}
/// Computes C = start + A B in parallel.
template <class Scalar>
void multiply(const Product<Scalar>& product, Threads* threads) {
  multiply(product, threads, [](Index, Index, Index, Index) {});
}

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
