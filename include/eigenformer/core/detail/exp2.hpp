// 2^x for SIMD packets.
#pragma once

#include <iterator>
#include <limits>

#include "eigenformer/core/detail/fast_math.hpp"
#include "eigenformer/core/simd.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::simd {

namespace detail {

/// How x is split into an integer n and a fraction f = x - n:
/// - of_nearest: n is the nearest integer, |f| <= 1/2
/// - of_floor: n = floor(x), 0 <= f <= 1; one instruction with AVX-512
enum class Fraction { of_nearest, of_floor };
#if defined(EIGEN_VECTORIZE_AVX512) && defined(__AVX512DQ__)
inline constexpr Fraction fraction = Fraction::of_floor;
/// x - floor(x).
EIGEN_ALWAYS_INLINE Packet<float> above_floor(const Packet<float>& x) {
  return _mm512_reduce_ps(x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
}
EIGEN_ALWAYS_INLINE Packet<double> above_floor(const Packet<double>& x) {
  return _mm512_reduce_pd(x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
}
/// p * 2^floor(x), or 0 where x < least.
EIGEN_ALWAYS_INLINE Packet<float> scale_unless_less(const Packet<float>& x, const Packet<float>& least,
                                                    const Packet<float>& p) {
  return _mm512_maskz_scalef_ps(_mm512_cmp_ps_mask(x, least, _CMP_NLT_UQ), p, x);
}
EIGEN_ALWAYS_INLINE Packet<double> scale_unless_less(const Packet<double>& x, const Packet<double>& least,
                                                     const Packet<double>& p) {
  return _mm512_maskz_scalef_pd(_mm512_cmp_pd_mask(x, least, _CMP_NLT_UQ), p, x);
}
#else
inline constexpr Fraction fraction = Fraction::of_nearest;
#endif

/// Coefficients, highest degree first, of polynomials that approximate 2^f and are exactly 1 at f = 0:
/// - float: degree 5, minimax in relative error (Lawson's iteration), largest error 9e-8
/// - double: degree 11, interpolated at Chebyshev points, largest errors 2e-17 (of_nearest) and 3e-17 (of_floor)
template <class Scalar, Fraction>
inline constexpr double exp2_coefficients[] = {4.4549605981865186e-10, 7.072585949269223e-09, 1.0178062445845774e-07,
                                               1.321544258792169e-06,  1.525273382983612e-05, 0.0001540353044173605,
                                               0.0013333558146416936,  0.009618129107606888,  0.0555041086648216,
                                               0.24022650695910097,    0.6931471805599453,    1.0};
template <>
inline constexpr double exp2_coefficients<double, Fraction::of_floor>[] = {
    6.123092916826387e-10,  6.634445866251414e-09,  1.0236023803275179e-07, 1.3210583477765189e-06,
    1.5252998899728418e-05, 0.00015403521219107733, 0.001333355834393728,   0.009618129105151757,
    0.05550410866498067,    0.24022650695909673,    0.6931471805599453,     1.0};
template <>
inline constexpr float exp2_coefficients<float, Fraction::of_nearest>[] = {0.001326472724702269F, 0.009671512688148396F,
                                                                           0.055507337435744375F, 0.24022242084635162F,
                                                                           0.6931469775987168F,   1.0F};
template <>
inline constexpr float exp2_coefficients<float, Fraction::of_floor>[] = {0.0018671302486710825F, 0.009017029943843532F,
                                                                         0.05579991337433829F,   0.24016445008095266F,
                                                                         0.6931513118106818F,    1.0F};

/// Computes p = 2^f for fractions f, by Horner's scheme. Evaluating pairs of terms in f^2 halves the chain of FMAs, but
/// is no faster.
/// Measured: with pairs, attention has 1.00 to 1.01 times its speed, float and double, Zen 3.
template <class Scalar, int count>
EIGEN_ALWAYS_INLINE void exp2_of_fractions(const Packet<Scalar> (&f)[count], Packet<Scalar> (&p)[count]) {
  constexpr auto& coefficients = exp2_coefficients<Scalar, fraction>;
  constexpr int terms = static_cast<int>(std::size(coefficients));
  EIGENFORMER_UNROLL
  for (int i = 0; i < count; ++i) p[i] = broadcast(coefficients[0]);
  EIGENFORMER_UNROLL
  for (int c = 1; c < terms; ++c) {
    EIGENFORMER_UNROLL
    for (int i = 0; i < count; ++i) p[i] = multiply_add(p[i], f[i], broadcast(coefficients[c]));
  }
}

/// Whether one instruction can shift the low mantissa bits of each lane into the exponent field.
template <class Scalar>
inline constexpr bool shifts_to_exponent = std::is_same_v<Scalar, float> && (lanes<float> > 1);
/// Shifts the low mantissa bits of each lane into the exponent field.
template <class P>
EIGEN_ALWAYS_INLINE P last_bits_as_exponent(const P& x) {
  using Bits = typename Eigen::internal::unpacket_traits<P>::integer_packet;
  return Eigen::internal::preinterpret<P>(
      Eigen::internal::plogical_shift_left<23>(Eigen::internal::preinterpret<Bits>(x)));
}
#if defined(EIGEN_VECTORIZE_AVX2) && !defined(EIGEN_VECTORIZE_AVX512)
template <>
inline constexpr bool shifts_to_exponent<double> = true;
EIGEN_ALWAYS_INLINE Packet<double> last_bits_as_exponent(const Packet<double>& x) {
  return _mm256_castsi256_pd(_mm256_slli_epi64(_mm256_castpd_si256(x), 52));
}
#elif defined(EIGEN_VECTORIZE_SSE2) && !defined(EIGEN_VECTORIZE_AVX)
template <>
inline constexpr bool shifts_to_exponent<double> = true;
EIGEN_ALWAYS_INLINE Packet<double> last_bits_as_exponent(const Packet<double>& x) {
  return _mm_castsi128_pd(_mm_slli_epi64(_mm_castpd_si128(x), 52));
}
#endif

}  // namespace detail

/// How many packets to pass to exp2_each at once: four, or one where four would spill registers.
inline constexpr int exponentials_together = registers >= 32 ? 4 : 1;

/// Replaces each x by 2^x, for x <= 127.
/// - Special values: exactly 1 at 0; NaN for NaN.
/// - Underflow: exactly 0 where 2^x would be below 2^-102 (double: 2^-969), and at minus infinity. Such numbers are
///   negligible beside 1, but their products with values could be subnormal, which is a hundred times slower on Intel.
/// - Error: at most 3 roundings, or 3 + |x| where Eigen's pexp is used.
/// - pexp takes twice the instructions. It is used where Eigen does not vectorise. For double it is also used with all
///   instruction sets except SSE2 to SSE4.2, AVX2 and AVX-512DQ.
///
/// Each step runs for all packets before the next step. Done one packet after another, the chain of dependent
/// instructions would be longer than the processor's out-of-order window.
///
/// Measured: scores_bench, alibi/n:2048/d:64: 0.43 of the plain kernel's speed with subnormals, 0.89 without.
template <class Scalar, int count>
EIGEN_ALWAYS_INLINE void exp2_each(Packet<Scalar> (&x)[count]) {
  using P = Packet<Scalar>;
  using Limits = std::numeric_limits<Scalar>;
  constexpr int lowest = Limits::min_exponent - 1 + Limits::digits;
  P f[count], p[count];
#if defined(EIGEN_VECTORIZE_AVX512) && defined(__AVX512DQ__)
  // f and p * 2^floor(x) take one instruction each. Rounding to nearest (two micro-operations on Intel) and subtracting
  // is slower.
  // Measured: with rounding to nearest, attention has 0.98 to 0.99 times its speed on a Xeon.
  if constexpr (lanes < Scalar >> 1) {
    EIGENFORMER_UNROLL
    for (int i = 0; i < count; ++i) f[i] = detail::above_floor(x[i]);
    detail::exp2_of_fractions<Scalar>(f, p);
    EIGENFORMER_UNROLL
    for (int i = 0; i < count; ++i) x[i] = detail::scale_unless_less(x[i], broadcast(Scalar(lowest)), p[i]);
    return;
  }
#endif
  P power[count];
  if constexpr (detail::shifts_to_exponent<Scalar>) {
    // x = n + f. Adding 1.5 * 2^23 (1.5 * 2^52 for double) rounds x to n. With the exponent's bias added as well, the
    // sum's low bits are the exponent field of 2^n.
    // p is multiplied by 2^n. Adding n to p's exponent field instead would turn a NaN with nonzero low bits into a
    // number.
    constexpr Scalar ulp_is_1 = Scalar(1.5) / Limits::epsilon();
    const P round = broadcast(ulp_is_1 + (Limits::max_exponent - 1));
    P shifted[count];
    EIGENFORMER_UNROLL
    for (int i = 0; i < count; ++i) x[i] = as_rounded(x[i]);
    EIGENFORMER_UNROLL
    for (int i = 0; i < count; ++i) shifted[i] = as_rounded(add(x[i], round));
    EIGENFORMER_UNROLL
    for (int i = 0; i < count; ++i) f[i] = subtract(x[i], as_rounded(subtract(shifted[i], round)));
    detail::exp2_of_fractions<Scalar>(f, p);
    EIGENFORMER_UNROLL
    for (int i = 0; i < count; ++i) power[i] = multiply(p[i], detail::last_bits_as_exponent(shifted[i]));
  } else {
    EIGENFORMER_UNROLL
    for (int i = 0; i < count; ++i)
      power[i] = Eigen::internal::pexp(multiply(x[i], broadcast(Scalar(0.693147180559945309417))));
  }
  EIGENFORMER_UNROLL
  for (int i = 0; i < count; ++i)
    x[i] = Eigen::internal::pandnot(power[i], Eigen::internal::pcmp_lt(x[i], broadcast(Scalar(lowest))));
}

/// Returns 2^x for one packet: see exp2_each for range and error.
template <class Scalar>
EIGEN_ALWAYS_INLINE Packet<Scalar> exp2(const Packet<Scalar>& x) {
  Packet<Scalar> one[] = {x};
  exp2_each<Scalar>(one);
  return one[0];
}

/// Replaces each x with 2^x, for x <= 127, as accurately as 16-bit numbers need. With AVX-512, relative errors are at
/// most 9e-5; otherwise this is exp2_each. Special values and underflow are as in exp2_each.
template <int count>
EIGEN_ALWAYS_INLINE void exp2_for_16_bits(Packet<float> (&x)[count]) {
#if defined(EIGEN_VECTORIZE_AVX512) && defined(__AVX512DQ__)
  // Degree 3, minimax in relative error with 1 at f = 0 (Lawson's iteration).
  constexpr float coefficients[] = {0.07706641F, 0.22764568F, 0.69511663F, 1.0F};
  constexpr int lowest = std::numeric_limits<float>::min_exponent - 1 + std::numeric_limits<float>::digits;
  Packet<float> f[count], p[count];
  EIGENFORMER_UNROLL
  for (int i = 0; i < count; ++i) f[i] = detail::above_floor(x[i]);
  EIGENFORMER_UNROLL
  for (int i = 0; i < count; ++i) p[i] = broadcast(coefficients[0]);
  EIGENFORMER_UNROLL
  for (int k = 1; k < 4; ++k) {
    EIGENFORMER_UNROLL
    for (int i = 0; i < count; ++i) p[i] = multiply_add(p[i], f[i], broadcast(coefficients[k]));
  }
  EIGENFORMER_UNROLL
  for (int i = 0; i < count; ++i) x[i] = detail::scale_unless_less(x[i], broadcast(float(lowest)), p[i]);
#else
  exp2_each<float>(x);
#endif
}

}  // namespace eigenformer::inline EIGENFORMER_ABI::simd
