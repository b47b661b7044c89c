// Rounds floats to bfloat16 for a matrix unit.
#pragma once

#include "eigenformer/core/detail/convert.hpp"
#include "eigenformer/core/matrix_unit.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::matrix_unit {

/// Rounds `count` floats to bfloat16, to nearest, ties to even.
inline void round_to(const float* from, Index count, Eigen::bfloat16* to) {
#if defined(EIGENFORMER_AVX512_BFLOAT16)
  for (Index i = 0; i < count; i += 32) {
    const Index size = std::min<Index>(32, count - i);
    const __mmask32 entries = 0xFFFFFFFFU >> (32 - size);
    const __m512 first = _mm512_maskz_loadu_ps(static_cast<__mmask16>(entries), from + i);
    const __m512 second = _mm512_maskz_loadu_ps(static_cast<__mmask16>(entries >> 16U), from + i + 16);
    _mm512_mask_storeu_epi16(to + i, entries,
                             eigenformer::detail::bit_cast<__m512i>(_mm512_cvtne2ps_pbh(second, first)));
  }
#else
  eigenformer::detail::convert(from, count, to);
#endif
}

}  // namespace eigenformer::inline EIGENFORMER_ABI::matrix_unit
