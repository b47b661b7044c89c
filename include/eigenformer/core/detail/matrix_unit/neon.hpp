// Products of blocks by NEON's bfloat16 and dot product instructions. Included by core/matrix_unit.hpp.
#pragma once

#include "eigenformer/core/detail/matrix_unit/dot_products.hpp"

#if defined(EIGENFORMER_NEON_BFLOAT16) || defined(EIGENFORMER_NEON_INT8)

#include <arm_neon.h>

namespace eigenformer::inline EIGENFORMER_ABI::matrix_unit {

namespace detail {

#if defined(EIGENFORMER_NEON_BFLOAT16)
/// bfdot rounds each product and sum to odd, which is a little less accurate, unless the processor has FEAT_EBF16.
struct NeonBfloat16Dot {
  using Value = Eigen::bfloat16;
  using Sums = float32x4_t;
  using Left = bfloat16x8_t;
  using Right = bfloat16x8_t;
  static constexpr int lanes = 4, registers = 16;  // 16 hide the latency, 16 are left for operands
  static Sums zero() { return vdupq_n_f32(0); }
  static Sums load(const float* from) { return vld1q_f32(from); }
  static void store(float* to, Sums sums) { vst1q_f32(to, sums); }
  static Left left(const Value* from) { return vreinterpretq_bf16_s32(vdupq_n_s32(bits_of_group(from))); }
  static Right right(const Value* from) {
    Right values;
    std::memcpy(&values, from, sizeof(values));
    return values;
  }
  static Sums add(Sums sums, Left left, Right right) { return vbfdotq_f32(sums, left, right); }
};
#endif

#if defined(EIGENFORMER_NEON_INT8)
struct NeonInt8Dot {
  using Value = std::int8_t;
  using Sums = int32x4_t;
  using Left = int8x16_t;
  using Right = int8x16_t;
  static constexpr int lanes = 4, registers = 16;
  static Sums zero() { return vdupq_n_s32(0); }
  static Sums load(const std::int32_t* from) { return vld1q_s32(from); }
  static void store(std::int32_t* to, Sums sums) { vst1q_s32(to, sums); }
  static Left left(const Value* from) { return vreinterpretq_s8_s32(vdupq_n_s32(bits_of_group(from))); }
  static Right right(const Value* from) { return vld1q_s8(from); }
  static Sums add(Sums sums, Left left, Right right) { return vdotq_s32(sums, left, right); }
};
#endif

}  // namespace detail

#if defined(EIGENFORMER_NEON_BFLOAT16)
/// Multiplies by bfdot.
using NeonBfloat16 = detail::DotProducts<detail::NeonBfloat16Dot>;
#endif
#if defined(EIGENFORMER_NEON_INT8)
/// Multiplies by sdot.
using NeonInt8 = detail::DotProducts<detail::NeonInt8Dot>;
#endif

}  // namespace eigenformer::inline EIGENFORMER_ABI::matrix_unit

#endif
