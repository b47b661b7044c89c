// Checks a matrix for NaN and infinity. A product may weight hidden entries by 0 only if its other operand is finite.
#pragma once

#include "eigenformer/kernels/detail/gemm/product.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

/// Returns false if an entry is NaN or infinite.
template <class Scalar>
EIGEN_DONT_INLINE bool all_finite(const Strided<Scalar>& m, Index rows, Index cols) {
  if (m.col_stride != 1 && m.row_stride == 1) return all_finite(transposed(m), cols, rows);
  // 0 * x is 0 for finite x and NaN otherwise, and a sum preserves NaN.
  constexpr Index lanes = simd::lanes<Scalar>;
  simd::Packet<Scalar> sums[2] = {simd::broadcast(Scalar(0)), simd::broadcast(Scalar(0))};
  Scalar sum = 0;
  for (Index i = 0; i < rows; ++i) {
    Index j = 0;
    if (m.col_stride == 1)
      for (; j + 2 * lanes <= cols; j += 2 * lanes) {
        EIGENFORMER_UNROLL
        for (int l = 0; l < 2; ++l)
          sums[l] = simd::multiply_add(simd::load(&m(i, j + l * lanes)), simd::broadcast(Scalar(0)), sums[l]);
      }
    for (; j < cols; ++j) sum += 0 * m(i, j);
  }
  Scalar lane_sums[lanes];
  simd::store(lane_sums, simd::add(sums[0], sums[1]));
  for (const Scalar lane : lane_sums) sum += lane;
  return sum == 0;
}

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
