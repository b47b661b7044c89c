// How rows of floats become operands of a matrix unit.
#pragma once

#include "eigenformer/core/matrix_unit.hpp"
#include "eigenformer/core/matrix_unit_rounding.hpp"
#include "eigenformer/kernels/quantization.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

/// Converts a row of floats to values of type T and a scale. A float is about value * scale.
///
///   scale(row, size)               returns the scale of a whole row
///   convert(row, size, scale, to)  writes the values of a row, or of a part of it
template <class T>
struct UnitRows;

template <>
struct UnitRows<Eigen::bfloat16> {
  static float scale(const float*, Index) { return 1; }
  static void convert(const float* row, Index size, float, Eigen::bfloat16* to) {
    matrix_unit::round_to(row, size, to);
  }
};

template <>
struct UnitRows<std::int8_t> {
  static float scale(const float* row, Index size) { return quantization_scale(row, size); }
  static void convert(const float* row, Index size, float scale, std::int8_t* to) {
    quantize_row(row, size, scale, to);
  }
};

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
