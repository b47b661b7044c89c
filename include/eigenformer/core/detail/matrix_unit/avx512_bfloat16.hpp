// Products of blocks of bfloat16 numbers by AVX512-BF16. Included by core/matrix_unit.hpp.
#pragma once

#include <immintrin.h>

#include "eigenformer/core/matrix_unit.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::matrix_unit {

/// Multiplies by vdpbf16ps: a register holds the sums of one row and 16 columns.
struct Avx512Bfloat16 {
  struct Session {
    Session() {}
  };
  template <int rows, int columns>
  static void multiply(const Product& product) {
    // 8 rows and 2 columns take 16 sums, which hide the latency of the multiplication.
    constexpr int together = columns == 2 ? 8 : 16;
    EIGENFORMER_UNROLL
    for (int first = 0; first < rows * static_cast<int>(block); first += together)
      multiply_rows<together, columns>(product, first);
  }

 private:
  template <int count, int columns>
  EIGEN_ALWAYS_INLINE static void multiply_rows(const Product& product, int first) {
    const Index row_block = first / block, row = first % block;
    float* const c = product.c.data + row_block * product.c.row_block_stride + row * product.c.row_stride;
    const Eigen::bfloat16* const a = product.a.data + row_block * product.a.block_stride + row * product.a.row_stride;
    __m512 sums[count][columns];
    EIGENFORMER_UNROLL
    for (int i = 0; i < count; ++i) {
      EIGENFORMER_UNROLL
      for (int j = 0; j < columns; ++j)
        sums[i][j] = product.accumulates
                         ? _mm512_loadu_ps(c + i * product.c.row_stride + j * product.c.column_block_stride)
                         : _mm512_setzero_ps();
    }
    for (Index step = 0; step < product.steps; ++step) {
      const Eigen::bfloat16* const b = product.b.data + step * step_size;
      const Eigen::bfloat16* const a_step = a + step * product.a.step_stride;
      for (Index pair = 0; pair < depth / 2; ++pair) {
        __m512i right[columns];
        EIGENFORMER_UNROLL
        for (int j = 0; j < columns; ++j) right[j] = _mm512_loadu_si512(b + j * product.b.block_stride + pair * depth);
        EIGENFORMER_UNROLL
        for (int i = 0; i < count; ++i) {
          const __m512i left = _mm512_set1_epi32(pair_at(a_step + i * product.a.row_stride + 2 * pair));
          EIGENFORMER_UNROLL
          for (int j = 0; j < columns; ++j)
            sums[i][j] = _mm512_dpbf16_ps(sums[i][j], (__m512bh)left, (__m512bh)right[j]);
        }
      }
    }
    EIGENFORMER_UNROLL
    for (int i = 0; i < count; ++i) {
      EIGENFORMER_UNROLL
      for (int j = 0; j < columns; ++j)
        _mm512_storeu_ps(c + i * product.c.row_stride + j * product.c.column_block_stride, sums[i][j]);
    }
  }
  EIGEN_ALWAYS_INLINE static int pair_at(const Eigen::bfloat16* from) {
    int pair;
    std::memcpy(&pair, from, sizeof(pair));
    return pair;
  }
};

}  // namespace eigenformer::inline EIGENFORMER_ABI::matrix_unit
