// Powers of two, a register at a time.
#pragma once

#include <iterator>
#include <limits>

#include "eigenformer/core/detail/fast_math.hpp"
#include "eigenformer/core/simd.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::simd {

namespace detail {

/// What is left of x when it is parted into an integer and a fraction f: by the nearest integer |f| <= 1/2, by the
/// largest that is not above it 0 <= f <= 1, with AVX-512 one instruction.
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
/// p 2^floor(x), or 0 where x < least.
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

/// The coefficients, highest first, of polynomials near 2^f that are 1 at 0. For float those of degree 5 with the least
/// largest relative error, 9e-8 (by Lawson's iteration); for double degree 11 through Chebyshev's points, 2e-17 and
/// 3e-17.
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

/// p = 2^f for a fraction f. (Pairs of terms in f^2, whose chain of multiply-adds is half as long, are no faster: 1.00
/// to 1.01 times attention's speed in float and double on Zen 3.)
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

/// Whether numbers' last bits can be shifted to the exponent's place, by an instruction.
template <class Scalar>
inline constexpr bool shifts_to_exponent = std::is_same_v<Scalar, float> && (lanes<float> > 1);
/// Shifts them there.
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

/// Packets that exp2_each is best given at a time: with fewer registers they would not fit.
inline constexpr int exponentials_together = registers >= 32 ? 4 : 1;

/// Each x becomes 2^x, for x <= 127: 1 at 0, NaN for NaN, and exactly 0 where it would be so small (2^-102, 2^-969, at
/// minus infinity) that beside 1 it is nothing, but times a value might be below the smallest normal number: with these
/// Intel takes a hundred times as long (scores_bench, alibi/n:2048/d:64: 0.43 instead of 0.89 of the plain kernel's
/// speed). Within 3 rounding errors, or 3 + |x| of them where it is by Eigen's pexp: for double but with SSE, AVX2 or
/// AVX-512DQ, and where Eigen does not vectorise. That takes twice the instructions. Every step is taken for all
/// packets before the next: one packet after the other would wait for its own results longer than a processor looks
/// ahead.
template <class Scalar, int count>
EIGEN_ALWAYS_INLINE void exp2_each(Packet<Scalar> (&x)[count]) {
  using P = Packet<Scalar>;
  using Limits = std::numeric_limits<Scalar>;
  constexpr int lowest = Limits::min_exponent - 1 + Limits::digits;
  P f[count], p[count];
#if defined(EIGEN_VECTORIZE_AVX512) && defined(__AVX512DQ__)
  // f, and p * 2^floor(x), are an instruction each. (Rounding to the nearest, which is two steps on Intel, and
  // subtracting what was rounded: 0.98 to 0.99 times attention's speed on a Xeon.)
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
    // x = n + f. Added to 1.5 * 2^23 (2^52 for double), x is rounded to n; to the exponent's bias more, the sum's last
    // bits are those of 2^n's exponent. Times 2^n: added to p's exponent instead, they would make a number of a NaN
    // whose last bits are not 0.
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

/// The same of one packet.
template <class Scalar>
EIGEN_ALWAYS_INLINE Packet<Scalar> exp2(const Packet<Scalar>& x) {
  Packet<Scalar> one[] = {x};
  exp2_each<Scalar>(one);
  return one[0];
}

}  // namespace eigenformer::inline EIGENFORMER_ABI::simd
