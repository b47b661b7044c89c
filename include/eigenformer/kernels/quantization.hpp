// Symmetric quantisation of rows to 8-bit integers: value = integer * scale, with one scale per row. The largest
// magnitude of a row becomes 127, as in CTranslate2 (which stores the reciprocal of the scale).
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>

#include "eigenformer/core/check.hpp"
#include "eigenformer/core/detail/bit_cast.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// A quantised matrix. Entry (i, j) is values(i, j) * scales(i, 0).
struct QuantizedRows {
  Matrix<std::int8_t> values;
  Matrix<float> scales;  // [rows x 1]
};

namespace detail {

/// Returns the scale of a row: its largest magnitude / 127, or 0 if this quotient is below the smallest normal number.
/// Returns NaN if an entry is NaN or infinite.
///
/// The scale is rounded up to 16 significant bits, or down if 127 * scale would be infinite. So 127 * scale is exact,
/// and quantising a dequantised row gives equal integers and an equal scale.
inline float quantization_scale(const float* row, Index size) {
  // The bits of magnitudes are ordered as the magnitudes are, and those of NaN are above infinity.
  constexpr Index chains = 16;  // a constant, so that compilers vectorise at -O2 too
  std::uint32_t maxima[chains] = {};
  const auto raise = [](std::uint32_t& maximum, float entry) {
    maximum = std::max<std::uint32_t>(maximum, bit_cast<std::uint32_t>(entry) & 0x7FFFFFFFU);
  };
  Index i = 0;
  for (; i + chains <= size; i += chains)
    for (Index c = 0; c < chains; ++c) raise(maxima[c], row[i + c]);
  for (; i < size; ++i) raise(maxima[0], row[i]);
  const std::uint32_t largest = *std::max_element(maxima, maxima + chains);
  if (largest >= 0x7F800000U) return std::numeric_limits<float>::quiet_NaN();
  const float scale = bit_cast<float>(largest) / 127;
  if (scale < (std::numeric_limits<float>::min)()) return 0;  // all entries are 0 or nearly so
  constexpr float largest_scale = 0x1.0204p121F;              // of 16 bits, whose product with 127 is finite
  return std::min<float>(bit_cast<float>((bit_cast<std::uint32_t>(scale) + 0xFFU) & ~0xFFU), largest_scale);
}

/// Writes the integers nearest to row / scale. Writes zeros if the scale is 0 or NaN.
inline void quantize_row(const float* row, Index size, float scale, std::int8_t* to) {
  if (!(scale > 0)) {
    std::fill_n(to, size, std::int8_t{0});
    return;
  }
  // Adding 1.5 * 2^23 rounds to the nearest integer, ties to even, and leaves it in the lowest bits.
  constexpr float shift = 12582912;
  const float inverse = 1 / scale;
  const auto nearest = [&](float entry) {
    return static_cast<std::int8_t>(static_cast<std::uint8_t>(bit_cast<std::uint32_t>(entry * inverse + shift)));
  };
  constexpr Index together = 16;
  Index i = 0;
  for (; i + together <= size; i += together)
    for (Index c = 0; c < together; ++c) to[i + c] = nearest(row[i + c]);
  for (; i < size; ++i) to[i] = nearest(row[i]);
}

}  // namespace detail

/// Returns x [rows x cols] with its rows quantised. A row of zeros has scale 0. A row with a NaN or an infinity has the
/// scale NaN.
inline QuantizedRows quantize_rows(const ConstMatrixRef<float>& x) {
  QuantizedRows quantized{Matrix<std::int8_t>(x.rows(), x.cols()), Matrix<float>(x.rows(), 1)};
  for (Index i = 0; i < x.rows(); ++i) {
    const float* const row = x.data() + i * x.outerStride();
    const float scale = detail::quantization_scale(row, x.cols());
    quantized.scales(i, 0) = scale;
    detail::quantize_row(row, x.cols(), scale, quantized.values.data() + i * x.cols());
  }
  return quantized;
}

/// Returns the floats that a quantised matrix stands for. Throws unless there is one scale per row.
inline Matrix<float> dequantize_rows(const QuantizedRows& quantized) {
  check_shape("dequantize_rows", "scales", shape(quantized.scales), {quantized.values.rows(), 1});
  return quantized.values.cast<float>().array().colwise() * quantized.scales.col(0).array();
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
