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

/// C = start + A B, `tiles` times one below the other. A: [rows x depth], B: [depth x packets * lanes]; `start` may be
/// C itself, a row that stands for all, or null for zeros.
/// Not inlined: each of its callers would have all tiles anew, to compile and to hold.
template <class Scalar, int packets, int rows>
EIGEN_DONT_INLINE void multiply_tiles(Index tiles, Index depth, Strided<Scalar> a, ContiguousRows<const Scalar> b,
                                      ContiguousRows<const Scalar> start, ContiguousRows<Scalar> c) {
  using P = simd::Packet<Scalar>;
  constexpr int lanes = simd::lanes<Scalar>;
  for (; tiles > 0; --tiles) {
    P sums[rows][packets];
    simd::unroll<rows>([&](auto i) {
      simd::unroll<packets>([&](auto p) {
        sums[i][p] = start.data == nullptr ? simd::broadcast(Scalar(0)) : simd::load(start.row(i) + p * lanes);
      });
    });
    const Scalar* a_entry = a.data;
    const Scalar* b_row = b.data;
    for (Index k = 0; k < depth; ++k) {
      P right[packets];
      simd::unroll<packets>([&](auto p) {
        right[p] = simd::load(b_row + p * lanes);
        if constexpr (rows < tile_rows(packets)) simd::keep_in_register(right[p]);
      });
      simd::unroll<rows>([&](auto i) {
        const P left = simd::broadcast(a_entry[i * a.row_stride]);
        simd::unroll<packets>([&](auto p) { sums[i][p] = simd::multiply_add(left, right[p], sums[i][p]); });
      });
      a_entry += a.col_stride;
      b_row += b.stride;
    }
    simd::unroll<rows>(
        [&](auto i) { simd::unroll<packets>([&](auto p) { simd::store(c.row(i) + p * lanes, sums[i][p]); }); });
    a = a.from_row(rows);
    c = c.from(rows, 0);
    start = start.from(rows, 0);
  }
}

/// The same for any number of rows.
template <class Scalar, int packets, int rows = tile_rows(packets)>
void multiply_rows(Index count, Index depth, const Strided<Scalar>& a, const ContiguousRows<const Scalar>& b,
                   const ContiguousRows<const Scalar>& start, const ContiguousRows<Scalar>& c) {
  // What is left goes to lower tiles. Each height is compiled anew, so there are only the powers of two.
  const Index tiles = count / rows;
  if (tiles > 0) multiply_tiles<Scalar, packets, rows>(tiles, depth, a, b, start, c);
  const Index done = tiles * rows;
  if constexpr (rows > 1)
    if (done < count)
      multiply_rows<Scalar, packets, rows / 2>(count - done, depth, a.from_row(done), b, start.from(done, 0),
                                               c.from(done, 0));
}

/// The same for any number of packets: threes, but rather two and two than three and one.
template <class Scalar>
void multiply_packets(Index rows, Index packets, Index depth, const Strided<Scalar>& a,
                      const ContiguousRows<const Scalar>& b, const ContiguousRows<const Scalar>& start,
                      const ContiguousRows<Scalar>& c) {
  for (Index done = 0, width = 0; done < packets; done += width) {
    const Index left = packets - done, col = done * simd::lanes<Scalar>;
    width = left == 4 ? 2 : std::min<Index>(left, 3);
    const auto multiply = [&](auto count) {
      multiply_rows<Scalar, count>(rows, depth, a, b.from(0, col), start.from(0, col), c.from(0, col));
    };
    if (width == 3) multiply(std::integral_constant<int, 3>{});
    if (width == 2) multiply(std::integral_constant<int, 2>{});
    if (width == 1) multiply(std::integral_constant<int, 1>{});
  }
}

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
