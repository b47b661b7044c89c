// Powers of two, a register at a time.
#pragma once

#include <iterator>
#include <limits>

#include "eigenformer/core/simd.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::simd {

namespace detail {

/// The coefficients, highest first, of polynomials near 2^f for |f| <= 1/2 that are 1 at 0. For float the one of degree
/// 5 with the least largest relative error, 9e-8 (by Lawson's iteration); for double degree 11 through Chebyshev's
/// points, 2e-17.
template <class Scalar>
inline constexpr double exp2_coefficients[] = {4.4549605981865186e-10, 7.072585949269223e-09, 1.0178062445845774e-07,
                                               1.321544258792169e-06,  1.525273382983612e-05, 0.0001540353044173605,
                                               0.0013333558146416936,  0.009618129107606888,  0.0555041086648216,
                                               0.24022650695910097,    0.6931471805599453,    1.0};
template <>
inline constexpr float exp2_coefficients<float>[] = {0.001326472724702269F, 0.009671512688148396F,
                                                     0.055507337435744375F, 0.24022242084635162F,
                                                     0.6931469775987168F,   1.0F};

/// p = 2^f for |f| <= 1/2. (Pairs of terms in f^2, whose chain of multiply-adds is half as long, are no faster: 1.00 to
/// 1.01 times attention's speed in float and double on Zen 3.)
template <class Scalar, int count>
EIGEN_ALWAYS_INLINE void exp2_of_fractions(const Packet<Scalar> (&f)[count], Packet<Scalar> (&p)[count]) {
  constexpr auto& coefficients = exp2_coefficients<Scalar>;
  constexpr int terms = static_cast<int>(std::size(coefficients));
  EIGENFORMER_UNROLL
  for (int i = 0; i < count; ++i) p[i] = broadcast(coefficients[0]);
  EIGENFORMER_UNROLL
  for (int c = 1; c < terms; ++c) {
    EIGENFORMER_UNROLL
    for (int i = 0; i < count; ++i) p[i] = multiply_add(p[i], f[i], broadcast(coefficients[c]));
  }
}

#if defined(EIGEN_VECTORIZE_AVX512) && defined(__AVX512DQ__)
EIGEN_ALWAYS_INLINE Packet<float> nearest(const Packet<float>& x) {
  return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT);
}
EIGEN_ALWAYS_INLINE Packet<double> nearest(const Packet<double>& x) {
  return _mm512_roundscale_pd(x, _MM_FROUND_TO_NEAREST_INT);
}
/// p 2^n, or 0 where x < least.
EIGEN_ALWAYS_INLINE Packet<float> scale_unless_less(const Packet<float>& x, const Packet<float>& least,
                                                    const Packet<float>& p, const Packet<float>& n) {
  return _mm512_maskz_scalef_ps(_mm512_cmp_ps_mask(x, least, _CMP_NLT_UQ), p, n);
}
EIGEN_ALWAYS_INLINE Packet<double> scale_unless_less(const Packet<double>& x, const Packet<double>& least,
                                                     const Packet<double>& p, const Packet<double>& n) {
  return _mm512_maskz_scalef_pd(_mm512_cmp_pd_mask(x, least, _CMP_NLT_UQ), p, n);
}
#endif

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
  // x = n + f: rounding, and p * 2^n, are an instruction each. (One gives f as well, but takes twice as long.)
  if constexpr (lanes < Scalar >> 1) {
    P n[count];
    EIGENFORMER_UNROLL
    for (int i = 0; i < count; ++i) n[i] = detail::nearest(x[i]);
    EIGENFORMER_UNROLL
    for (int i = 0; i < count; ++i) f[i] = subtract(x[i], n[i]);
    detail::exp2_of_fractions<Scalar>(f, p);
    EIGENFORMER_UNROLL
    for (int i = 0; i < count; ++i) x[i] = detail::scale_unless_less(x[i], broadcast(Scalar(lowest)), p[i], n[i]);
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
    for (int i = 0; i < count; ++i) shifted[i] = add(x[i], round);
    EIGENFORMER_UNROLL
    for (int i = 0; i < count; ++i) f[i] = subtract(x[i], subtract(shifted[i], round));
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
