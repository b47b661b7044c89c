// Packs the operands of a matrix unit's products (see matrix_unit.hpp).
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "eigenformer/core/detail/bit_cast.hpp"
#include "eigenformer/core/matrix_unit.hpp"
#include "eigenformer/core/simd.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::matrix_unit {

/// Returns the number of steps over `entries` entries.
template <UnitValue Value>
constexpr Index steps_for(Index entries) {
  return (entries + depth<Value> - 1) / depth<Value>;
}
/// Returns the number of blocks for `rows` rows or columns.
constexpr Index blocks_for(Index rows) {
  return (rows + block - 1) / block;
}

/// Entry (i, j) of a matrix is at rows[i][j * col_stride]. Rows may be anywhere in memory.
template <UnitValue Value>
struct Rows {
  const Value* const* rows;
  Index col_stride;
};

#if defined(EIGEN_VECTORIZE_AVX512) && defined(__AVX512BW__) && defined(__AVX512VL__)
namespace detail {
/// Writes the transpose of a square of 16 x 16 groups, whose row i is row(i).
template <UnitValue Value, class Row>
EIGEN_ALWAYS_INLINE void store_transposed_groups(Value* to, Row&& row) {
  simd::Packet<float> groups[block];  // their bits, as floats
  for (Index i = 0; i < block; ++i) groups[i] = _mm512_castsi512_ps(row(i));
  simd::detail::transpose_square(groups);
  for (Index i = 0; i < block; ++i) simd::store(reinterpret_cast<float*>(to + i * depth<Value>), groups[i]);
}
}  // namespace detail
#endif

/// Packs the transpose of `count` rows, at most 16, as one block of columns of B, in steps_for(width) steps. Pads with
/// zeros.
template <UnitValue Value>
void pack_right_transposed(const Rows<Value>& from, Index count, Index width, Value* to) {
  Index packed = 0;  // columns
#if defined(EIGEN_VECTORIZE_AVX512) && defined(__AVX512BW__) && defined(__AVX512VL__)
  if (from.col_stride == 1)
    for (; packed < width; packed += depth<Value>, to += step_size<Value>) {
      const Index size = std::min<Index>(depth<Value>, width - packed);
      const __mmask64 bytes = ~__mmask64(0) >> (64 - size * static_cast<Index>(sizeof(Value)));
      detail::store_transposed_groups(to, [&](Index j) {
        return j < count ? _mm512_maskz_loadu_epi8(bytes, from.rows[j] + packed) : _mm512_setzero_si512();
      });
    }
#endif
  for (; packed < width; packed += depth<Value>, to += step_size<Value>)
    for (Index j = 0; j < block; ++j)
      for (Index k = 0; k < depth<Value>; ++k)
        to[k / group<Value> * depth<Value> + j * group<Value> + k % group<Value>] =
            j < count && packed + k < width ? from.rows[j][(packed + k) * from.col_stride] : Value(0);
}

/// Packs `count` rows, at most 16, as one block of rows of A, in steps_for(width) steps of 16 rows. Pads with zeros.
template <UnitValue Value>
void pack_left(const Rows<Value>& from, Index count, Index width, Value* to) {
  for (Index begin = 0; begin < width; begin += depth<Value>)
    for (Index i = 0; i < block; ++i, to += depth<Value>) {
      const Index size = i < count ? std::min<Index>(depth<Value>, width - begin) : 0;
      if (size == depth<Value> && from.col_stride == 1) {
        std::memcpy(to, from.rows[i] + begin,
                    sizeof(Value) * depth<Value>);  // the size is constant, so the compiler inlines the copy
        continue;
      }
      if (size > 0 && from.col_stride == 1)
        std::copy_n(from.rows[i] + begin, size, to);
      else
        for (Index j = 0; j < size; ++j) to[j] = from.rows[i][(begin + j) * from.col_stride];
      std::fill(to + size, to + depth<Value>, Value(0));
    }
}

/// Packs the transpose of `count` rows, at most depth<Value>, as one step of blocks of rows of A. Column f becomes row
/// f of A. Block b begins at to + b * block_stride. Pads with zeros.
template <UnitValue Value>
void pack_left_transposed(const Rows<Value>& from, Index count, Index width, Value* to, Index block_stride) {
  Index packed = 0;  // columns
#if defined(EIGEN_VECTORIZE_AVX512) && defined(__AVX512BW__) && defined(__AVX512VL__)
  if (from.col_stride == 1)
    for (; packed < width; packed += block, to += block_stride) {
      const Index size = std::min<Index>(block, width - packed);
      const auto entries = static_cast<__mmask16>(0xFFFFU >> (block - size));
      const auto row = [&](Index r) {  // each entry in 32 bits
        if (r >= count) return _mm512_setzero_si512();
        if constexpr (sizeof(Value) == 2)
          return _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(entries, from.rows[r] + packed));
        else
          return _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(entries, from.rows[r] + packed));
      };
      detail::store_transposed_groups(to, [&](Index i) {
        __m512i groups = row(i * group<Value>);
        EIGENFORMER_UNROLL
        for (int g = 1; g < static_cast<int>(group<Value>); ++g)
          groups = _mm512_or_si512(
              groups,
              _mm512_sll_epi32(row(i * group<Value> + g), _mm_cvtsi32_si128(g * 8 * static_cast<int>(sizeof(Value)))));
        return groups;
      });
    }
#endif
  for (; packed < width; packed += block, to += block_stride)
    for (Index f = 0; f < block; ++f)
      for (Index k = 0; k < depth<Value>; ++k)
        to[f * depth<Value> + k] =
            k < count && packed + f < width ? from.rows[k][(packed + f) * from.col_stride] : Value(0);
}

/// Packs up to 32 rows of bfloat16 numbers as one step of blocks of columns of B: row k of B is row k. Block b of 16
/// columns begins at to + b * block_stride. Pads with zeros.
template <UnitValue Value>
requires(sizeof(Value) == 2) void pack_right(const Rows<Value>& from, Index count, Index width, Value* to,
                                             Index block_stride) {
  for (Index begin = 0; begin < width; begin += block, to += block_stride) {
    const Index columns = std::min<Index>(block, width - begin);
    for (Index k = 0; k < depth<Value>; k += 2) {
      Value* const pairs = to + k * block;
#if defined(EIGEN_VECTORIZE_AVX512) && defined(__AVX512BW__) && defined(__AVX512VL__)
      if (from.col_stride == 1) {
        const auto entries = static_cast<__mmask16>(0xFFFFU >> (block - columns));
        const auto row = [&](Index i) {
          return _mm512_cvtepu16_epi32(i < count ? _mm256_maskz_loadu_epi16(entries, from.rows[i] + begin)
                                                 : _mm256_setzero_si256());
        };
        _mm512_storeu_si512(pairs, _mm512_or_si512(row(k), _mm512_slli_epi32(row(k + 1), 16)));
        continue;
      }
#endif
      for (Index i = 0; i < 2; ++i)
        for (Index j = 0; j < block; ++j)
          pairs[2 * j + i] = k + i < count && j < columns ? from.rows[k + i][(begin + j) * from.col_stride] : Value(0);
    }
  }
}

#if defined(EIGENFORMER_AVX512_BFLOAT16)
/// Rounds two packets to bfloat16 and writes them as 16 pairs, one row of a block of B.
EIGEN_ALWAYS_INLINE void store_pairs(const simd::Packet<float>& first, const simd::Packet<float>& second,
                                     Eigen::bfloat16* to) {
  const __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6, 21,
                                         5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
  const __m512i rounded =
      eigenformer::detail::bit_cast<__m512i>(_mm512_cvtne2ps_pbh(second, first));  // `first` in the lower half
  _mm512_storeu_si512(to, _mm512_permutexvar_epi16(order, rounded));
}
#endif
/// Rounds two rows of 16 floats to bfloat16 and writes them as 16 pairs, one row of a block of B.
EIGEN_ALWAYS_INLINE void store_pairs(const float* first, const float* second, Eigen::bfloat16* to) {
#if defined(EIGENFORMER_AVX512_BFLOAT16)
  store_pairs(simd::load(first), simd::load(second), to);
#else
  for (Index j = 0; j < block; ++j) {
    to[2 * j] = Eigen::bfloat16(first[j]);
    to[2 * j + 1] = Eigen::bfloat16(second[j]);
  }
#endif
}

/// Rounds `rows` rows of 16 floats to bfloat16, and writes the first `count` columns as rows. Row i begins at
/// from + 16 * i; column j goes to to + j * to_stride.
inline void store_transposed(const float* from, Index rows, Index count, Eigen::bfloat16* to, Index to_stride) {
  Index written = 0;
#if defined(EIGENFORMER_AVX512_BFLOAT16)
  for (; written + block <= rows; written += block)
    simd::for_each_column(from + written * block, block, block, [&](Index j, const simd::Packet<float>& column) {
      if (j < count)
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + j * to_stride + written),
                            eigenformer::detail::bit_cast<__m256i>(_mm512_cvtneps_pbh(column)));
    });
#endif
  for (; written < rows; ++written)
    for (Index j = 0; j < count; ++j) to[j * to_stride + written] = Eigen::bfloat16(from[written * block + j]);
}

/// Rounds 16 floats from `first` on and 16 floats from `second` on to bfloat16, and writes them as a row of a step of
/// A.
EIGEN_ALWAYS_INLINE void store_row(const float* first, const float* second, Eigen::bfloat16* to) {
#if defined(EIGENFORMER_AVX512_BFLOAT16)
  _mm512_storeu_si512(
      to, eigenformer::detail::bit_cast<__m512i>(_mm512_cvtne2ps_pbh(simd::load(second), simd::load(first))));
#else
  for (Index j = 0; j < block; ++j) {
    to[j] = Eigen::bfloat16(first[j]);
    to[block + j] = Eigen::bfloat16(second[j]);
  }
#endif
}

/// Rounds `count` floats times `factor` to bfloat16.
inline void store_rounded(const float* from, Index count, float factor, Eigen::bfloat16* to) {
  Index j = 0;
#if defined(EIGENFORMER_AVX512_BFLOAT16)
  for (; j + block <= count; j += block)
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + j),
                        eigenformer::detail::bit_cast<__m256i>(
                            _mm512_cvtneps_pbh(simd::multiply(simd::load(from + j), simd::broadcast(factor)))));
#endif
  for (; j < count; ++j) to[j] = Eigen::bfloat16(from[j] * factor);
}

/// Returns the dot product of `count` contiguous numbers. The order of its sums depends on `count` alone.
inline float dot(const Eigen::bfloat16* a, const Eigen::bfloat16* b, Index count) {
  float sum = 0;
  Index j = 0;
#if defined(EIGEN_VECTORIZE_AVX512)
  const auto floats = [](const Eigen::bfloat16* from) {
    const __m256i numbers = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(numbers), 16));
  };
  simd::Packet<float> sums = simd::broadcast(0.0F);
  for (; j + block <= count; j += block) sums = simd::multiply_add(floats(a + j), floats(b + j), sums);
  sum = simd::sum_of_lanes<float>(sums);
#endif
  for (; j < count; ++j) sum += static_cast<float>(a[j]) * static_cast<float>(b[j]);
  return sum;
}

/// Returns whether the magnitudes of `count` contiguous numbers are below 2^exponent. NaN and infinity are not below
/// 2^128. exponent: -126 to 128.
inline bool all_below(const Eigen::bfloat16* x, Index count, int exponent) {
  const auto limit = static_cast<std::uint16_t>((exponent + 127) << 7);  // the bits of 2^exponent
#if defined(EIGEN_VECTORIZE_AVX512) && defined(__AVX512BW__) && defined(__AVX512VL__)
  const __m512i magnitude = _mm512_set1_epi16(0x7FFF), bound = _mm512_set1_epi16(static_cast<short>(limit));
  __mmask32 found = 0;
  for (Index i = 0; i < count; i += 32) {
    const __mmask32 entries = 0xFFFFFFFFU >> (32 - std::min<Index>(32, count - i));
    const __m512i bits = _mm512_and_si512(_mm512_maskz_loadu_epi16(entries, x + i), magnitude);
    found |= _mm512_cmpge_epu16_mask(bits, bound);
  }
  return found == 0;
#else
  std::uint16_t largest = 0;  // not a branch for each number, so that the loop is vectorised
  for (Index i = 0; i < count; ++i)
    largest = std::max<std::uint16_t>(largest, eigenformer::detail::bit_cast<std::uint16_t>(x[i]) & 0x7FFFU);
  return largest < limit;
#endif
}

}  // namespace eigenformer::inline EIGENFORMER_ABI::matrix_unit
