// Rounds floats to bfloat16 and packs them as operands of a matrix unit (see matrix_unit_product.hpp), in one pass.
#pragma once

#include <algorithm>

#include "eigenformer/core/detail/bit_cast.hpp"
#include "eigenformer/core/matrix_unit_packing.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::matrix_unit {

/// An operand of a product C = A B.
enum class Side { left, right };

/// The rows of A, or the columns of B. Entry k of line i is data[i * line_stride + k * depth_stride].
struct FloatLines {
  const float* data;
  Index line_stride;
  Index depth_stride;

  /// Returns the lines from `line` on, without their first `depth` entries.
  FloatLines from(Index line, Index depth) const {
    return {data + line * line_stride + depth * depth_stride, line_stride, depth_stride};
  }
};

#if defined(EIGENFORMER_AVX512_BFLOAT16)
namespace detail {

/// Writes a square of 16 x 16 groups, or its transpose if `transposed`. row(i) returns row i.
template <bool transposed, class Row>
EIGEN_ALWAYS_INLINE void store_groups(Eigen::bfloat16* to, Row&& row) {
  if constexpr (transposed)
    store_transposed_groups(to, row);
  else
    for (Index i = 0; i < block; ++i) _mm512_storeu_si512(to + i * depth<Eigen::bfloat16>, row(i));
}

/// Packs lines whose entries are contiguous (depth_stride is 1). A register holds all groups of one line.
template <Side side>
EIGEN_ALWAYS_INLINE void pack_contiguous_lines(const FloatLines& from, Index lines, Index entries,
                                               Eigen::bfloat16* to) {
  const __mmask32 mask = 0xFFFFFFFFU >> (depth<Eigen::bfloat16> - entries);
  store_groups<side == Side::right>(to, [&](Index i) {
    if (i >= lines) return _mm512_setzero_si512();
    const float* const line = from.data + i * from.line_stride;
    const __m512 first = _mm512_maskz_loadu_ps(static_cast<__mmask16>(mask), line);
    const __m512 second = _mm512_maskz_loadu_ps(static_cast<__mmask16>(mask >> 16U), line + block);
    return eigenformer::detail::bit_cast<__m512i>(_mm512_cvtne2ps_pbh(second, first));
  });
}

/// Packs lines that lie side by side (line_stride is 1). A register holds one group of every line.
template <Side side>
EIGEN_ALWAYS_INLINE void pack_lines_side_by_side(const FloatLines& from, Index lines, Index entries,
                                                 Eigen::bfloat16* to) {
  const auto mask = static_cast<__mmask16>(0xFFFFU >> (block - lines));
  const __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6, 21,
                                         5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
  const auto entry = [&](Index k) {
    return k < entries ? _mm512_maskz_loadu_ps(mask, from.data + k * from.depth_stride) : _mm512_setzero_ps();
  };
  store_groups<side == Side::left>(to, [&](Index g) {
    const auto rounded = eigenformer::detail::bit_cast<__m512i>(_mm512_cvtne2ps_pbh(entry(2 * g + 1), entry(2 * g)));
    return _mm512_permutexvar_epi16(order, rounded);
  });
}

}  // namespace detail
#endif

/// Rounds lines to bfloat16 (to nearest, ties to even) and writes them as one step of a block of A (left) or B (right),
/// padded with zeros. lines: 1 to 16. entries: of each line, 1 to 32.
template <Side side>
void pack_rounded(const FloatLines& from, Index lines, Index entries, Eigen::bfloat16* to) {
#if defined(EIGENFORMER_AVX512_BFLOAT16)
  if (from.depth_stride == 1) return detail::pack_contiguous_lines<side>(from, lines, entries, to);
  if (from.line_stride == 1) return detail::pack_lines_side_by_side<side>(from, lines, entries, to);
#endif
  constexpr Index step_depth = depth<Eigen::bfloat16>, group_size = group<Eigen::bfloat16>;
  for (Index i = 0; i < block; ++i)
    for (Index k = 0; k < step_depth; ++k) {
      const Index place =
          side == Side::left ? i * step_depth + k : k / group_size * step_depth + i * group_size + k % group_size;
      to[place] = i < lines && k < entries ? Eigen::bfloat16(from.data[i * from.line_stride + k * from.depth_stride])
                                           : Eigen::bfloat16(0);
    }
}

/// Rounds lines of `width` entries and packs them as consecutive blocks of A or B, padded with zeros: 16 lines per
/// block, in steps_for(width) steps.
template <Side side>
void pack_rounded_blocks(const FloatLines& from, Index lines, Index width, Eigen::bfloat16* to) {
  constexpr Index step = depth<Eigen::bfloat16>, size = step_size<Eigen::bfloat16>;
  const Index steps = steps_for<Eigen::bfloat16>(width);
  const auto pack = [&](Index line, Index k) {
    pack_rounded<side>(from.from(line, k * step), std::min<Index>(block, lines - line),
                       std::min<Index>(step, width - k * step), to + (line / block * steps + k) * size);
  };
  // If consecutive entries of a line lie on different pages, packs one step of all blocks before the next step, because
  // the blocks share these pages.
  constexpr Index page = 4096 / static_cast<Index>(sizeof(float));
  if (from.line_stride == 1 && from.depth_stride >= page) {
    for (Index k = 0; k < steps; ++k)
      for (Index line = 0; line < lines; line += block) pack(line, k);
  } else {
    for (Index line = 0; line < lines; line += block)
      for (Index k = 0; k < steps; ++k) pack(line, k);
  }
}

}  // namespace eigenformer::inline EIGENFORMER_ABI::matrix_unit
