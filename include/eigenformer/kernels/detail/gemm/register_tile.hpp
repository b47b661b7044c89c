// The inner loop of all products: a tile of the result that stays in registers.
//
// A tile has a few rows and one, two or three packets of columns. For every k, its packets of B are loaded once, and
// the entries of A are broadcast from where they lie, so neither A nor its transpose is copied. An entry of the result
// is one chain of multiply-adds over k = 0, 1, 2, .. in that order, whichever tile it is in. So a row's result does not
// depend, to the last bit, on how many other rows there are.
#pragma once

#include <algorithm>
#include <type_traits>

#include "eigenformer/core/detail/compiled.hpp"
#include "eigenformer/core/simd.hpp"
#include "eigenformer/kernels/detail/gemm/operands.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

/// Packets of the widest tile.
inline constexpr int panel_packets = 3;
/// Columns of the widest tile.
template <class Scalar>
inline constexpr Index panel_width = panel_packets* simd::lanes<Scalar>;

/// Returns the number of rows of the tallest tile with this many packets. 8 x 3 sums, or 4 x 3 with 16 registers, leave
/// enough registers for the operands, and hide the latency of the additions. 12 x 2 and 6 x 4 are as fast, but a tile's
/// rows are often the features of a head, and most head widths are multiples of eight.
/// Measured: AVX-512: 96 to 98 % of the peak with both 12 x 2 and 6 x 4.
/// Measured: Xeon, whose clock falls with the number of loads: attention has 0.95 to 1.01 times the speed with
/// either 6 x 3 or 8 x 2.
/// Measured: the same Xeon, one load placed before every pair of multiply-adds, which suits its ports: products alone
/// are 4 % faster, attention is no faster.
constexpr int tile_rows(int packets) {
  return simd::registers >= 32 || packets == 1 ? 8 : 4;
}

/// Whether a matrix has contiguous rows or contiguous columns.
enum class Contiguous { rows, columns };

/// Returns the entry at `from` + i strides + `bytes` bytes, for i < 4. x86 can encode this address in the load or
/// store. The empty asm stops the compiler from precomputing it: Clang 14 spends an addition on each address, and GCC
/// 12 spills addresses to the stack when it runs out of registers.
template <class Entry, class Byte>
EIGEN_ALWAYS_INLINE Entry& at(Byte*& from, int i, Index& stride, Index three_strides, Index bytes) {
#if defined(__clang__)
  asm("" : "+r"(from));
#elif defined(__GNUC__)
  asm("" : "+r"(stride));
#endif
  return *reinterpret_cast<Entry*>(from + (i == 3 ? three_strides : i * stride) + bytes);
}

/// Calls body(i, p, address) for packet p of row i of a tile, with addresses that x86 can encode in the load or store.
template <class Scalar, int rows, int packets, class Body>
EIGEN_ALWAYS_INLINE void for_each_packet(const ContiguousRows<Scalar>& tile, Body body) {
  using Byte = std::conditional_t<std::is_const_v<Scalar>, const char, char>;
  using P = simd::Packet<std::remove_const_t<Scalar>>;
  Index stride = tile.stride * static_cast<Index>(sizeof(Scalar));
  const Index three_strides = 3 * stride;
  Byte* from = reinterpret_cast<Byte*>(tile.data);
  EIGENFORMER_UNROLL
  for (int i = 0; i < rows; ++i) {
    if (i == 4) from += 4 * stride;
    EIGENFORMER_UNROLL
    for (int p = 0; p < packets; ++p)
      body(i, p, &at<Scalar>(from, i % 4, stride, three_strides, p * static_cast<Index>(sizeof(P))));
  }
}

/// Adds A B to `sums` for the next `steps` values of k, and advances the pointers. Rows 0 to 3 of A begin at a_0, rows
/// 4 to 7 at a_4. Strides are in bytes.
///
/// On Intel, multiply-adds share ports with integer additions, so all pointers advance only once per call.
/// Measured: Ice Lake, 8 x 3 tiles of depth 64: 88 % of the peak with three additions per step, 96 % with three in four
/// steps.
template <class Scalar, Contiguous contiguous, int steps, int rows, int packets>
EIGEN_ALWAYS_INLINE void add_steps(  // NOLINT(readability-function-size): always inlined
    const char*& a_0, const char*& a_4, Index& stride, Index three_strides, const char*& b, Index& b_stride,
    Index three_b_strides, simd::Packet<Scalar> (&sums)[rows][packets]) {
  static_assert(rows <= 8 && steps <= 4);
  using P = simd::Packet<Scalar>;
  constexpr Index size = sizeof(Scalar);
  constexpr bool along_rows = contiguous == Contiguous::rows;
  EIGENFORMER_UNROLL
  for (int k = 0; k < steps; ++k) {
    P right[packets];
    EIGENFORMER_UNROLL
    for (int p = 0; p < packets; ++p)
      right[p] = simd::load(&at<const Scalar>(b, k, b_stride, three_b_strides, p * static_cast<Index>(sizeof(P))));
    EIGENFORMER_UNROLL
    for (int i = 0; i < rows; ++i) {
      const char*& from = i < 4 ? a_0 : a_4;
      const P left = simd::broadcast(
          at<const Scalar>(from, along_rows ? i % 4 : k, stride, three_strides, (along_rows ? k : i % 4) * size));
      EIGENFORMER_UNROLL
      for (int p = 0; p < packets; ++p) sums[i][p] = simd::multiply_add(left, right[p], sums[i][p]);
      simd::keep_in_register(left);
    }
    EIGENFORMER_UNROLL
    for (int p = 0; p < packets; ++p) simd::keep_in_register(right[p]);
  }
  a_0 += steps * (along_rows ? size : stride);
  a_4 += steps * (along_rows ? size : stride);
  b += steps * b_stride;
}

/// Computes C = start + A B in whole tiles of `rows` rows, one below the other. Leaves out the last rows if they do not
/// fill a tile. `product` must have packets * lanes columns. `largest` has an entry per column, or is null. Each entry
/// is raised to the maximum of itself and its column of C. This costs next to nothing while C is in registers.
/// Not inlined, because every caller would compile and contain all tiles again.
template <class Scalar, int packets, int rows, Contiguous contiguous>
EIGEN_DONT_INLINE void multiply_tiles(const PackedProduct<Scalar>& product, Scalar* largest) {
  using P = simd::Packet<Scalar>;
  constexpr bool along_rows = contiguous == Contiguous::rows;
  constexpr int lanes = simd::lanes<Scalar>;
  constexpr Index size = sizeof(Scalar);
  // Four steps per round; two with SSE, where four are slower. Eight are no faster anywhere.
  // Measured: attention_bench, SSE, n = 512, d = 64, two steps instead of four: 64 instead of 56 % of the peak with GCC
  // 12, 59 instead of 48 % with Clang 14.
  constexpr int steps = sizeof(P) > 16 || simd::registers >= 32 ? 4 : 2;
  const Index a_stride = along_rows ? product.a.row_stride : product.a.col_stride;
  const Scalar* a = product.a.data;
  ContiguousRows<const Scalar> start = product.start;
  ContiguousRows<Scalar> c = product.c;
  Index stride = a_stride * size, b_stride = product.b.stride * size;
  const Index three_strides = 3 * stride, three_b_strides = 3 * b_stride;
  for (Index tiles = product.rows / rows; tiles > 0; --tiles) {
    P sums[rows][packets];
    if (start.data == nullptr) {
      EIGENFORMER_UNROLL
      for (int i = 0; i < rows; ++i) {
        EIGENFORMER_UNROLL
        for (int p = 0; p < packets; ++p) sums[i][p] = simd::broadcast(Scalar(0));
      }
    } else {
      for_each_packet<const Scalar, rows, packets>(
          start, [&](int i, int p, const Scalar* from) { sums[i][p] = simd::load(from); });
    }
    const char *a_0 = reinterpret_cast<const char*>(a), *a_4 = a_0 + 4 * (along_rows ? stride : size);
    const char* b_0 = reinterpret_cast<const char*>(product.b.data);
    Index left = product.depth;
    for (; left >= steps; left -= steps)
      add_steps<Scalar, contiguous, steps>(a_0, a_4, stride, three_strides, b_0, b_stride, three_b_strides, sums);
    for (; left > 0; --left)
      add_steps<Scalar, contiguous, 1>(a_0, a_4, stride, three_strides, b_0, b_stride, three_b_strides, sums);
    for_each_packet<Scalar, rows, packets>(c, [&](int i, int p, Scalar* to) { simd::store(to, sums[i][p]); });
    if (largest != nullptr) {
      EIGENFORMER_UNROLL
      for (int p = 0; p < packets; ++p) {
        P top = simd::load(largest + p * lanes);
        EIGENFORMER_UNROLL
        for (int i = 0; i < rows; ++i) top = simd::maximum(sums[i][p], top);
        simd::store(largest + p * lanes, top);
      }
    }
    a += rows * (along_rows ? a_stride : 1);
    c = c.from(rows, 0);
    start = start.from(rows, 0);
  }
}

/// Computes a product with any number of rows, and packets * lanes columns. largest: see multiply_tiles.
template <class Scalar, int packets, int rows = tile_rows(packets)>
void multiply_rows(const PackedProduct<Scalar>& product, Scalar* largest = nullptr) {
  eigen_assert(product.a.row_stride == 1 || product.a.col_stride == 1 || product.depth == 0);
  if (product.rows >= rows) {
    if (product.a.col_stride == 1)
      multiply_tiles<Scalar, packets, rows, Contiguous::rows>(product, largest);
    else
      multiply_tiles<Scalar, packets, rows, Contiguous::columns>(product, largest);
  }
  // The remaining rows go to tiles of half the height. Each height is compiled separately, so only powers of two are
  // used.
  const Index done = product.rows / rows * rows;
  if constexpr (rows > 1)
    if (done < product.rows) multiply_rows<Scalar, packets, rows / 2>(product.from_row(done), largest);
}

/// Computes a product whose columns are whole packets. Takes three packets at a time, but splits four into two and two.
/// largest: see multiply_tiles.
template <class Scalar>
void multiply_packets(const PackedProduct<Scalar>& product, Scalar* largest = nullptr) {
  constexpr Index lanes = simd::lanes<Scalar>;
  const Index packets = product.cols / lanes;
  for (Index done = 0, width = 0; done < packets; done += width) {
    const Index left = packets - done, col = done * lanes;
    width = left == 4 ? 2 : std::min<Index>(left, 3);
    const PackedProduct<Scalar> part = product.columns(col, width * lanes);
    Scalar* const largest_of_part = largest == nullptr ? nullptr : largest + col;
    if (width == 3) multiply_rows<Scalar, 3>(part, largest_of_part);
    if (width == 2) multiply_rows<Scalar, 2>(part, largest_of_part);
    if (width == 1) multiply_rows<Scalar, 1>(part, largest_of_part);
  }
}

EIGENFORMER_FLOAT(void multiply_packets(const PackedProduct<float>&, float*));
EIGENFORMER_DOUBLE(void multiply_packets(const PackedProduct<double>&, double*));

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
