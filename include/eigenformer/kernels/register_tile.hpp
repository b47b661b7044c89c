// The loop that all products run in: a tile of the result that stays in registers.
//
// A tile is a few rows by one, two or three packets of columns. For every k its packets of B are loaded once, and A's
// entries are broadcast from where they lie, with any strides, so neither A nor its transpose is copied. Every entry of
// the result is one chain of multiply-adds over k = 0, 1, 2, .. in that order, in whichever tile it is: a row's result
// does not depend on how many other rows there are, to the last bit.
#pragma once

#include <algorithm>

#include "eigenformer/core/simd.hpp"
#include "eigenformer/kernels/strided.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

/// Packets of the widest tile.
inline constexpr int panel_packets = 3;
/// Columns of the widest tile.
template <class Scalar>
inline constexpr Index panel_width = panel_packets* simd::lanes<Scalar>;

/// Rows of the highest tile of so many packets. 8 x 3 sums, or 4 x 3 where there are 16 registers, leave enough of them
/// for what is multiplied, and hide the latency of the additions. As fast are 12 x 2 and 6 x 4 (both 96 to 98 % of the
/// peak with AVX-512), but eights divide most widths of heads.
constexpr int tile_rows(int packets) {
  return simd::registers >= 32 || packets == 1 ? 8 : 4;
}

/// Hides from GCC what a number was made of, so that it does not make it anew elsewhere.
template <class T>
EIGEN_ALWAYS_INLINE void keep_as_it_is([[maybe_unused]] T& number) {
#if defined(__GNUC__) && !defined(__clang__)
  asm("" : "+r"(number));
#endif
}
template <class T>
EIGEN_ALWAYS_INLINE void advance(const T*& pointer, Index by) {
  pointer += by;
  keep_as_it_is(pointer);
}

/// sums += a b, of a column a, whose entries lie `stride` bytes apart, and a row b. Two pointers to a's entries and two
/// strides reach eight rows by what an x86 address adds and scales. Left to itself, GCC 12 makes an offset for every
/// row, and keeps those for which there is no register on the stack or in vector registers (attention_bench, backward,
/// n = 512, d = 64: 85.3 instead of 86.6 % of the peak). These are parameters and not a struct, because GCC makes
/// vectors of a struct's pointers (32 %).
template <class Scalar, int rows, int packets>
EIGEN_ALWAYS_INLINE void add_outer_product(const char* row_0, const char* row_4, Index stride, Index three_strides,
                                           const Scalar* b, simd::Packet<Scalar> (&sums)[rows][packets]) {
  static_assert(rows <= 8);
  using P = simd::Packet<Scalar>;
  keep_as_it_is(stride);
  keep_as_it_is(three_strides);
  P right[packets];
  simd::unroll<packets>([&](auto p) {
    right[p] = simd::load(b + p * simd::lanes<Scalar>);
    if constexpr (rows < tile_rows(packets)) simd::keep_in_register(right[p]);
  });
  simd::unroll<rows>([&](auto i) {
    const char* entry = (i < 4 ? row_0 : row_4) + (i % 4 == 3 ? three_strides : i % 4 * stride);
    const P left = simd::broadcast(*reinterpret_cast<const Scalar*>(entry));
    simd::unroll<packets>([&](auto p) { sums[i][p] = simd::multiply_add(left, right[p], sums[i][p]); });
  });
}

/// C = start + A B, `tiles` times one below the other. A: [rows x depth], B: [depth x packets * lanes]; `start` may be
/// C itself, a row that stands for all, or null for zeros. Where `largest` is not null, each of its packets * lanes
/// entries becomes the larger of itself and all of C's column: that costs next to nothing while C is in registers.
/// Not inlined: each of its callers would have all tiles anew, to compile and to hold.
template <class Scalar, int packets, int rows>
EIGEN_DONT_INLINE void multiply_tiles(Index tiles, Index depth, Strided<Scalar> a, ContiguousRows<const Scalar> b,
                                      ContiguousRows<const Scalar> start, ContiguousRows<Scalar> c,
                                      Scalar* largest = nullptr) {
  using P = simd::Packet<Scalar>;
  constexpr int lanes = simd::lanes<Scalar>;
  constexpr Index size = sizeof(Scalar);
  const Index stride = a.row_stride * size, three_strides = 3 * stride, next_col = a.col_stride * size;
  for (; tiles > 0; --tiles) {
    P sums[rows][packets];
    simd::unroll<rows>([&](auto i) {
      simd::unroll<packets>([&](auto p) {
        sums[i][p] = start.data == nullptr ? simd::broadcast(Scalar(0)) : simd::load(start.row(i) + p * lanes);
      });
    });
    const char *row_0 = reinterpret_cast<const char*>(a.data), *row_4 = row_0 + 4 * stride;
    const Scalar* b_row = b.data;
    // Several steps a round, for fewer instructions beside the multiply-adds (attention_bench, n = 2048, d = 64: 87
    // instead of 85 % of the peak). Eight are not faster, and with SSE four are slower than two: n = 512, d = 64, 56
    // instead of 64 % on GCC, 48 instead of 59 % on Clang.
    constexpr int steps = sizeof(P) > 16 || simd::registers >= 32 ? 4 : 2;
    Index left = depth;
    for (; left >= steps; left -= steps)
      simd::unroll<steps>([&](auto) {
        add_outer_product<Scalar>(row_0, row_4, stride, three_strides, b_row, sums);
        advance(row_0, next_col);
        advance(row_4, next_col);
        advance(b_row, b.stride);
      });
    for (; left > 0; --left) {
      add_outer_product<Scalar>(row_0, row_4, stride, three_strides, b_row, sums);
      advance(row_0, next_col);
      advance(row_4, next_col);
      advance(b_row, b.stride);
    }
    simd::unroll<rows>(
        [&](auto i) { simd::unroll<packets>([&](auto p) { simd::store(c.row(i) + p * lanes, sums[i][p]); }); });
    if (largest != nullptr)
      simd::unroll<packets>([&](auto p) {
        P top = simd::load(largest + p * lanes);
        simd::unroll<rows>([&](auto i) { top = simd::max(sums[i][p], top); });
        simd::store(largest + p * lanes, top);
      });
    a = a.from_row(rows);
    c = c.from(rows, 0);
    start = start.from(rows, 0);
  }
}

/// The same for any number of rows.
template <class Scalar, int packets, int rows = tile_rows(packets)>
void multiply_rows(Index count, Index depth, const Strided<Scalar>& a, const ContiguousRows<const Scalar>& b,
                   const ContiguousRows<const Scalar>& start, const ContiguousRows<Scalar>& c,
                   Scalar* largest = nullptr) {
  // What is left goes to lower tiles. Each height is compiled anew, so there are only the powers of two.
  const Index tiles = count / rows;
  if (tiles > 0) multiply_tiles<Scalar, packets, rows>(tiles, depth, a, b, start, c, largest);
  const Index done = tiles * rows;
  if constexpr (rows > 1)
    if (done < count)
      multiply_rows<Scalar, packets, rows / 2>(count - done, depth, a.from_row(done), b, start.from(done, 0),
                                               c.from(done, 0), largest);
}

/// The same for any number of packets: threes, but rather two and two than three and one.
template <class Scalar>
void multiply_packets(Index rows, Index packets, Index depth, const Strided<Scalar>& a,
                      const ContiguousRows<const Scalar>& b, const ContiguousRows<const Scalar>& start,
                      const ContiguousRows<Scalar>& c, Scalar* largest = nullptr) {
  for (Index done = 0, width = 0; done < packets; done += width) {
    const Index left = packets - done, col = done * simd::lanes<Scalar>;
    width = left == 4 ? 2 : std::min<Index>(left, 3);
    const auto multiply = [&](auto count) {
      multiply_rows<Scalar, count>(rows, depth, a, b.from(0, col), start.from(0, col), c.from(0, col),
                                   largest == nullptr ? nullptr : largest + col);
    };
    if (width == 3) multiply(std::integral_constant<int, 3>{});
    if (width == 2) multiply(std::integral_constant<int, 2>{});
    if (width == 1) multiply(std::integral_constant<int, 1>{});
  }
}

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
