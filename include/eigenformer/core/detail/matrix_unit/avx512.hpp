// Products of blocks by AVX512-BF16 and AVX512-VNNI. Included by core/matrix_unit.hpp.
#pragma once

#include "eigenformer/core/detail/bit_cast.hpp"
#include "eigenformer/core/detail/matrix_unit/dot_products.hpp"

#if defined(EIGENFORMER_AVX512_BFLOAT16) || defined(EIGENFORMER_AVX512_INT8)

#include <immintrin.h>

namespace eigenformer::inline EIGENFORMER_ABI::matrix_unit {

namespace detail {

#if defined(EIGENFORMER_AVX512_BFLOAT16)
struct Avx512Bfloat16Dot {
  using Value = Eigen::bfloat16;
  using Sums = __m512;
  using Left = __m512bh;
  using Right = __m512bh;
  static constexpr int lanes = 16, registers = 16;  // 16 hide the latency, 16 are left for operands
  static Sums zero() { return _mm512_setzero_ps(); }
  static Sums load(const float* from) { return _mm512_loadu_ps(from); }
  static void store(float* to, Sums sums) { _mm512_storeu_ps(to, sums); }
  static Left left(const Value* from) {
    return eigenformer::detail::bit_cast<Left>(_mm512_set1_epi32(bits_of_group(from)));
  }
  static Right right(const Value* from) { return eigenformer::detail::bit_cast<Right>(_mm512_loadu_si512(from)); }
  static Sums add(Sums sums, Left left, Right right) { return _mm512_dpbf16_ps(sums, left, right); }
};
#endif

#if defined(EIGENFORMER_AVX512_INT8)
/// vpdpbusd multiplies unsigned by signed integers. So 128 is added to the right operand, and 128 times the sum of the
/// left operand is subtracted at the end. Both wrap modulo 2^32, so the result is exact.
struct Avx512Int8Dot {
  using Value = std::int8_t;
  using Sums = __m512i;
  using Left = __m512i;
  using Right = __m512i;
  static constexpr int lanes = 16, registers = 16;
  static Sums zero() { return _mm512_setzero_si512(); }
  static Sums load(const std::int32_t* from) { return _mm512_loadu_si512(from); }
  static void store(std::int32_t* to, Sums sums) { _mm512_storeu_si512(to, sums); }
  static Left left(const Value* from) { return _mm512_set1_epi32(bits_of_group(from)); }
  static Right right(const Value* from) {
    return _mm512_xor_si512(_mm512_loadu_si512(from), _mm512_set1_epi32(static_cast<int>(0x80808080U)));
  }
  static Sums add(Sums sums, Left left, Right right) { return _mm512_dpbusd_epi32(sums, right, left); }
  static Sums sum(Sums a, Sums b) { return _mm512_add_epi32(a, b); }
  static Sums broadcast(std::int32_t term) { return _mm512_set1_epi32(term); }
  /// Returns -128 times the sum of a row of A.
  static std::int32_t row_term(const Value* row, const LeftBlocks<Value>& a, Index steps) {
    const __m512i ones = _mm512_set1_epi32(0x01010101);
    __m512i total = _mm512_setzero_si512();
    for (Index step = 0; step < steps; ++step)
      total = _mm512_dpbusd_epi32(total, ones, _mm512_loadu_si512(row + step * a.step_stride));
    return minus_128_times(_mm512_reduce_add_epi32(total));
  }
};
#endif

}  // namespace detail

#if defined(EIGENFORMER_AVX512_BFLOAT16)
/// Multiplies by vdpbf16ps.
using Avx512Bfloat16 = detail::DotProducts<detail::Avx512Bfloat16Dot>;
#endif
#if defined(EIGENFORMER_AVX512_INT8)
/// Multiplies by vpdpbusd.
using Avx512Int8 = detail::DotProducts<detail::Avx512Int8Dot>;
#endif

}  // namespace eigenformer::inline EIGENFORMER_ABI::matrix_unit

#endif
