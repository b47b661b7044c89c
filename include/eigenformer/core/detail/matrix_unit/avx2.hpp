// Products of blocks of 8-bit integers by AVX-VNNI or AVX2. Included by core/matrix_unit.hpp.
#pragma once

#include "eigenformer/core/detail/matrix_unit/dot_products.hpp"

#if defined(EIGENFORMER_AVX2_INT8)

#include <immintrin.h>

namespace eigenformer::inline EIGENFORMER_ABI::matrix_unit {

namespace detail {

/// What AVX-VNNI and AVX2 share. With 8 registers of sums, 8 are left for operands.
struct Sums256 {
  using Value = std::int8_t;
  using Sums = __m256i;
  static constexpr int lanes = 8, registers = 8;
  static Sums zero() { return _mm256_setzero_si256(); }
  static Sums load(const void* from) { return _mm256_loadu_si256(static_cast<const __m256i*>(from)); }
  static void store(void* to, Sums sums) { _mm256_storeu_si256(static_cast<__m256i*>(to), sums); }
  static Sums sum(Sums a, Sums b) { return _mm256_add_epi32(a, b); }
};

#if defined(EIGENFORMER_AVX_VNNI_INT8)
/// vpdpbusd multiplies unsigned by signed integers. So 128 is added to the right operand, and 128 times the sum of the
/// left operand is subtracted at the end. Both wrap modulo 2^32, so the result is exact.
struct AvxVnniInt8Dot : Sums256 {
  using Left = __m256i;
  using Right = __m256i;
  static Left left(const Value* from) { return _mm256_set1_epi32(bits_of_group(from)); }
  static Right right(const Value* from) {
    return _mm256_xor_si256(load(from), _mm256_set1_epi32(static_cast<int>(0x80808080U)));
  }
  static Sums add(Sums sums, Left left, Right right) { return _mm256_dpbusd_avx_epi32(sums, right, left); }
  static Sums broadcast(std::int32_t term) { return _mm256_set1_epi32(term); }
  /// Returns -128 times the sum of a row of A.
  static std::int32_t row_term(const Value* row, const LeftBlocks<Value>& a, Index steps) {
    const __m256i ones = _mm256_set1_epi32(0x01010101);
    __m256i total = zero();
    for (Index step = 0; step < steps; ++step, row += a.step_stride)
      for (Index k = 0; k < depth<Value>; k += 4 * lanes) total = _mm256_dpbusd_avx_epi32(total, ones, load(row + k));
    total = _mm256_add_epi32(total, _mm256_permute2x128_si256(total, total, 1));  // swaps the halves
    total = _mm256_hadd_epi32(total, total);
    total = _mm256_hadd_epi32(total, total);
    return minus_128_times(_mm256_cvtsi256_si32(total));
  }
};
#endif

/// Multiplies 8-bit integers by vpmaddubsw, which takes unsigned times signed ones. It gets |right| and sign(right) *
/// left. As the left operand is never -128, sums of two products fit into 16 bits.
/// Measured: Zen 3, GCC 12: 1.3 times the speed of splitting both operands into 16-bit integers for vpmaddwd.
struct Avx2Int8Dot : Sums256 {
  struct Right {
    __m256i values, magnitudes;
  };
  using Left = __m256i;
  static Left left(const Value* from) { return _mm256_set1_epi32(bits_of_group(from)); }
  static Right right(const Value* from) {
    const __m256i values = load(from);
    return {values, _mm256_abs_epi8(values)};
  }
  static Sums add(Sums sums, Left left, const Right& right) {
    const __m256i pairs = _mm256_maddubs_epi16(right.magnitudes, _mm256_sign_epi8(left, right.values));
    return sum(sums, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
  }
};

}  // namespace detail

#if defined(EIGENFORMER_AVX_VNNI_INT8)
/// Multiplies by vpdpbusd.
using AvxVnniInt8 = detail::DotProducts<detail::AvxVnniInt8Dot>;
#endif
/// Multiplies by vpmaddubsw.
using Avx2Int8 = detail::DotProducts<detail::Avx2Int8Dot>;

}  // namespace eigenformer::inline EIGENFORMER_ABI::matrix_unit

#endif
