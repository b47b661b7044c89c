// Scalar exp, tanh and abs without branches or calls. A compiler can vectorise a loop over them, unlike one over the C
// library's functions.
#pragma once

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <limits>
#include <type_traits>

#include "eigenformer/core/detail/bit_cast.hpp"
#include "eigenformer/core/detail/fast_math.hpp"
#include "eigenformer/core/detail/tanh.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

namespace detail {

template <class Scalar>
struct FloatingBits;
template <>
struct FloatingBits<float> {
  using Integer = std::int32_t;
  static constexpr Integer sign = (std::numeric_limits<Integer>::min)();
  static constexpr float round =
      12582912.0F;  // 1.5 * 2^23: adding it rounds to an integer, which appears in the sum's low bits
  static constexpr float ln2_high = 0.693145751953125F, ln2_low = 1.42860682030942e-6F;
  static constexpr int terms = 7;
};
template <>
struct FloatingBits<double> {
  using Integer = std::int64_t;
  static constexpr Integer sign = (std::numeric_limits<Integer>::min)();
  static constexpr double round = 6755399441055744.0;  // 1.5 * 2^52
  static constexpr double ln2_high = 0.69314718036912381649, ln2_low = 1.9082149292705877e-10;
  static constexpr int terms = 13;
};

/// Returns a if the condition holds, else b, by masking bits. GCC 12 compiles a conditional expression with one
/// constant operand to a branch, and a loop with branches is not vectorised.
/// Measured: scores_bench, lambda_tanh with AVX2, GCC 12: 20 instead of 77 % of the plain kernel's speed.
template <class Scalar>
EIGEN_ALWAYS_INLINE Scalar choose(bool condition, Scalar a, Scalar b) {
  using Integer = typename FloatingBits<Scalar>::Integer;
  const Integer mask = -static_cast<Integer>(condition);
  return bit_cast<Scalar>((bit_cast<Integer>(a) & mask) | (bit_cast<Integer>(b) & ~mask));
}

/// Returns 1, 1/2!, 1/3! ..
template <class Scalar>
constexpr auto inverse_factorials() {
  std::array<Scalar, FloatingBits<Scalar>::terms> inverses{};
  double product = 1;
  for (std::size_t k = 0; k < inverses.size(); product *= static_cast<double>(++k + 1))
    inverses[k] = static_cast<Scalar>(1 / product);
  return inverses;
}

}  // namespace detail

/// Returns e^x within 2 roundings. Returns 0 where the result would be subnormal, and infinity where it would exceed
/// 2^127.5 (double: 2^1023.5), which is 0.71 of the largest number.
template <class Scalar, std::enable_if_t<std::is_floating_point_v<Scalar>, int> = 0>
EIGEN_ALWAYS_INLINE Scalar exp(Scalar x) {
  EIGENFORMER_KEEP_ORDER
  using simd::as_rounded;
  constexpr bool single = sizeof(Scalar) == 4;
  constexpr Scalar lowest = single ? Scalar(-87.33654) : Scalar(-708.39641853226408);
  constexpr Scalar highest = single ? Scalar(88.37626) : Scalar(709.4361393031039);  // the largest with n = 127, 1023
  const Scalar within = detail::choose(x < lowest, lowest, detail::choose(x > highest, highest, x));
  // e^x = 2^n (1 + p), where p = e^r - 1 and |r| <= ln(2) / 2.
  using Bits = detail::FloatingBits<Scalar>;
  const Scalar shifted = as_rounded(within * Scalar(1.44269504088896340736) + Bits::round);
  const Scalar n = as_rounded(shifted - Bits::round);
  const Scalar r = as_rounded(within - n * Bits::ln2_high) - n * Bits::ln2_low;
  // Taylor series r + r^2/2! + r^3/3! ..: the first omitted term is below half a rounding.
  constexpr auto coefficients = detail::inverse_factorials<Scalar>();
  Scalar sum = coefficients.back();
  EIGENFORMER_UNROLL
  for (std::size_t k = coefficients.size() - 1; k > 0; --k) sum = sum * r + coefficients[k - 1];
  constexpr int mantissa = std::numeric_limits<Scalar>::digits - 1;
  // Unsigned, because the bits of a NaN may overflow.
  const auto power = detail::bit_cast<Scalar>((detail::bits_of(shifted) << mantissa) + detail::bits_of(Scalar(1)));
  const Scalar y = power + power * (r * sum);
  const Scalar bounded = detail::choose(x > highest, std::numeric_limits<Scalar>::infinity(), y);
  return detail::choose(x < lowest, Scalar(0), bounded);
}

template <class Scalar, std::enable_if_t<std::is_floating_point_v<Scalar>, int> = 0>
EIGEN_ALWAYS_INLINE Scalar abs(Scalar x) {
  return detail::bit_cast<Scalar>(detail::bit_cast<typename detail::FloatingBits<Scalar>::Integer>(x) &
                                  ~detail::FloatingBits<Scalar>::sign);
}

/// Returns tanh x, with the formula and error bounds of core/detail/tanh.hpp.
template <class Scalar, std::enable_if_t<std::is_floating_point_v<Scalar>, int> = 0>
EIGEN_ALWAYS_INLINE Scalar tanh(Scalar x) {
  using Integer = typename detail::FloatingBits<Scalar>::Integer;
  using Fraction = simd::detail::TanhFraction<Scalar>;
  const Scalar size = abs(x);
  const Scalar within = detail::choose(size > Fraction::bound, Scalar(Fraction::bound), size);
  const Scalar square = within * within;
  Scalar p = Fraction::numerator[0], q = Fraction::denominator[0];
  constexpr int terms = static_cast<int>(std::size(Fraction::numerator));
  EIGENFORMER_UNROLL
  for (int k = 1; k < terms; ++k) {
    p = p * square + Fraction::numerator[k];
    q = q * square + Fraction::denominator[k];
  }
  const Scalar y = within * p / q;
  return detail::bit_cast<Scalar>(detail::bit_cast<Integer>(y) |
                                  (detail::bit_cast<Integer>(x) & detail::FloatingBits<Scalar>::sign));
}

// log, sqrt and pow call the C library, so loops over them are not vectorised.
template <class Scalar, std::enable_if_t<std::is_floating_point_v<Scalar>, int> = 0>
Scalar log(Scalar x) {
  return std::log(x);
}
template <class Scalar, std::enable_if_t<std::is_floating_point_v<Scalar>, int> = 0>
Scalar sqrt(Scalar x) {
  return std::sqrt(x);
}
template <class Scalar, class Exponent,
          std::enable_if_t<std::is_floating_point_v<Scalar> && std::is_arithmetic_v<Exponent>, int> = 0>
Scalar pow(Scalar x, Exponent exponent) {
  return std::pow(x, static_cast<Scalar>(exponent));
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
