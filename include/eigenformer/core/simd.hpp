// Vector registers, by Eigen's packets: whatever Eigen vectorises is served, on every compiler.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <iterator>
#include <limits>
#include <type_traits>

#include "eigenformer/core/types.hpp"

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wignored-attributes"  // of a vector type as a template argument: of no consequence
#endif

namespace eigenformer::inline EIGENFORMER_ABI::simd {

/// A register's worth of scalars; the scalar itself where Eigen does not vectorise it.
template <class Scalar>
using Packet = typename Eigen::internal::packet_traits<Scalar>::type;

/// Scalars in a packet.
template <class Scalar>
inline constexpr int lanes = Eigen::internal::unpacket_traits<Packet<Scalar>>::size;

/// Registers that the machine has for packets.
inline constexpr int registers = EIGEN_ARCH_DEFAULT_NUMBER_OF_REGISTERS;

template <class Scalar>
EIGEN_ALWAYS_INLINE Packet<Scalar> load(const Scalar* from) {
  return Eigen::internal::ploadu<Packet<Scalar>>(from);
}
/// Tells GCC that a packet is still needed here. GCC 12 may otherwise put a sum where it was, and later move it back;
/// or read the packet from memory again each time. Without fused multiply-adds there would be too few registers.
template <class P>
EIGEN_ALWAYS_INLINE void keep_in_register([[maybe_unused]] const P& packet) {
#if defined(EIGEN_VECTORIZE_FMA) && defined(__GNUC__) && !defined(__clang__)
  asm volatile("" : : "v"(packet));
#endif
}
template <class Scalar>
EIGEN_ALWAYS_INLINE void store(Scalar* to, const Packet<Scalar>& packet) {
  Eigen::internal::pstoreu(to, packet);
}
/// Asks for what lies there to be brought nearer.
template <class Scalar>
EIGEN_ALWAYS_INLINE void prefetch(const Scalar* address) {
  Eigen::internal::prefetch(address);
}
template <class Scalar>
EIGEN_ALWAYS_INLINE Packet<Scalar> broadcast(const Scalar& value) {
  return Eigen::internal::pset1<Packet<Scalar>>(value);
}
/// first, first + 1, first + 2, ..
template <class Scalar>
EIGEN_ALWAYS_INLINE Packet<Scalar> count_from(const Scalar& first) {
  return Eigen::internal::plset<Packet<Scalar>>(first);
}
/// a b + c.
template <class P>
EIGEN_ALWAYS_INLINE P multiply_add(const P& a, const P& b, const P& c) {
  return Eigen::internal::pmadd(a, b, c);
}
template <class P>
EIGEN_ALWAYS_INLINE P multiply(const P& a, const P& b) {
  return Eigen::internal::pmul(a, b);
}
template <class P>
EIGEN_ALWAYS_INLINE P divide(const P& a, const P& b) {
  return Eigen::internal::pdiv(a, b);
}
template <class P>
EIGEN_ALWAYS_INLINE P add(const P& a, const P& b) {
  return Eigen::internal::padd(a, b);
}
template <class P>
EIGEN_ALWAYS_INLINE P subtract(const P& a, const P& b) {
  return Eigen::internal::psub(a, b);
}
/// The natural logarithm: minus infinity of 0.
template <class P>
EIGEN_ALWAYS_INLINE P log(const P& a) {
  return Eigen::internal::plog(a);
}
/// The larger, lane by lane; where one is NaN, either.
template <class P>
EIGEN_ALWAYS_INLINE P max(const P& a, const P& b) {
  return Eigen::internal::pmax(a, b);
}
/// The smaller, lane by lane; a NaN of a's stays one.
template <class P>
EIGEN_ALWAYS_INLINE P min(const P& a, const P& b) {
  return Eigen::internal::pmin(a, b);
}
/// In each lane `yes` where a < b, else `no`, also where one is NaN.
template <class P>
EIGEN_ALWAYS_INLINE P select_less(const P& a, const P& b, const P& yes, const P& no) {
#ifdef EIGEN_VECTORIZE_AVX512
  // By a mask, of which Eigen 3.4 would make a vector, and of that a mask again.
  if constexpr (std::is_same_v<P, Packet<float>>)
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_LT_OQ), no, yes);
  else if constexpr (std::is_same_v<P, Packet<double>>)
    return _mm512_mask_blend_pd(_mm512_cmp_pd_mask(a, b, _CMP_LT_OQ), no, yes);
  else
#endif
    return Eigen::internal::pselect(Eigen::internal::pcmp_lt(a, b), yes, no);
}
template <class Scalar>
EIGEN_ALWAYS_INLINE Scalar sum_of_lanes(const Packet<Scalar>& a) {
  return Eigen::internal::predux(a);
}
/// The largest lane; where one is NaN, any.
template <class Scalar>
EIGEN_ALWAYS_INLINE Scalar max_of_lanes(const Packet<Scalar>& a) {
  return Eigen::internal::predux_max(a);
}

namespace detail {
/// In lane l only bit l, as numbers of 32 bits.
template <class Scalar>
constexpr auto bit_of_lane() {
  std::array<int, lanes<float>> bits{};
  for (std::size_t i = 0; i < bits.size(); ++i) bits[i] = 1 << (i * sizeof(int) / sizeof(Scalar));
  return bits;
}
}  // namespace detail

/// In lane l `yes` if bit l is set, else `no`.
template <class Scalar, class Floats = Packet<float>>
EIGEN_ALWAYS_INLINE Packet<Scalar> select_bits(std::uint32_t bits, const Packet<Scalar>& yes,
                                               const Packet<Scalar>& no) {
#ifdef EIGEN_VECTORIZE_AVX512
  if constexpr (lanes<Scalar> == 16)
    return _mm512_mask_blend_ps(static_cast<__mmask16>(bits), no, yes);
  else
    return _mm512_mask_blend_pd(static_cast<__mmask8>(bits), no, yes);
#else
  if constexpr (lanes<Scalar> == 1) {
    return (bits & 1U) != 0 ? yes : no;
  } else {
    // (Numbers made of the bits and compared, which GCC 12 shifts one by one, make scores_bench, dense_mask_random with
    // AVX2, 79 instead of 87 % of the plain kernel's speed.)
    using Bits = typename Eigen::internal::unpacket_traits<Floats>::integer_packet;
    static constexpr auto places = detail::bit_of_lane<Scalar>();
    const Bits own = Eigen::internal::pand(Eigen::internal::pset1<Bits>(static_cast<int>(bits)),
                                           Eigen::internal::ploadu<Bits>(places.data()));
    const Bits clear = Eigen::internal::pcmp_eq(own, Eigen::internal::pset1<Bits>(0));
    return Eigen::internal::pselect(std::bit_cast<Packet<Scalar>>(clear), no, yes);
  }
#endif
}
/// Whether a < b in any lane.
template <class Scalar>
EIGEN_ALWAYS_INLINE bool any_less(const Packet<Scalar>& a, const Packet<Scalar>& b) {
#ifdef EIGEN_VECTORIZE_AVX512
  if constexpr (lanes<Scalar> == 16)
    return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ) != 0;
  else if constexpr (lanes<Scalar> == 8)
    return _mm512_cmp_pd_mask(a, b, _CMP_LT_OQ) != 0;
#endif
  return Eigen::internal::predux_max(select_less(a, b, broadcast(Scalar(1)), broadcast(Scalar(0)))) > 0;
}

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

/// p = 2^f for |f| <= 1/2.
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
inline constexpr bool shifts_to_exponent = std::is_same_v<Scalar, float>&& lanes<float> > 1;
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

/// A register's worth of 32-bit numbers, whose products are made by multiply_words; one number where that is left to
/// the compiler.
#if defined(EIGEN_VECTORIZE_AVX512)
using Words = Eigen::internal::Packet16i;
#elif defined(EIGEN_VECTORIZE_AVX2)
using Words = Eigen::internal::Packet8i;
#elif defined(EIGEN_VECTORIZE_SSE2)
using Words = Eigen::internal::Packet4i;
#else
using Words = std::uint32_t;
#endif

/// What so many numbers are best held in: registers if they fill some.
template <std::size_t count>
using WordsOf = std::conditional_t<count * sizeof(std::uint32_t) % sizeof(Words) == 0, Words, std::uint32_t>;

template <class W>
EIGEN_ALWAYS_INLINE W load_words(const std::uint32_t* from) {
  return Eigen::internal::ploadu<W>(reinterpret_cast<const typename Eigen::internal::unpacket_traits<W>::type*>(from));
}
template <class W>
EIGEN_ALWAYS_INLINE void store_words(std::uint32_t* to, const W& words) {
  Eigen::internal::pstoreu(reinterpret_cast<typename Eigen::internal::unpacket_traits<W>::type*>(to), words);
}
template <class W>
EIGEN_ALWAYS_INLINE W broadcast_word(std::uint32_t word) {
  return Eigen::internal::pset1<W>(static_cast<typename Eigen::internal::unpacket_traits<W>::type>(word));
}
template <class W>
EIGEN_ALWAYS_INLINE W exclusive_or(const W& a, const W& b) {
  return Eigen::internal::pxor(a, b);
}

/// The upper and the lower halves of products.
template <class W>
struct Halves {
  W high, low;
};

EIGEN_ALWAYS_INLINE Halves<std::uint32_t> multiply_words(std::uint32_t a, std::uint32_t b) {
  const std::uint64_t product = std::uint64_t{a} * b;
  return {static_cast<std::uint32_t>(product >> 32), static_cast<std::uint32_t>(product)};
}
// x86 multiplies every other number of a register. GCC 12 moves the numbers apart for that and together again, by three
// times the instructions (scores_bench, dropout with AVX2: 82 instead of 87 % of the plain kernel's speed).
#if defined(EIGEN_VECTORIZE_AVX512)
EIGEN_ALWAYS_INLINE Halves<Words> multiply_words(const Words& a, const Words& b) {
  const auto even = _mm512_mul_epu32(a, b);
  const auto odd = _mm512_mul_epu32(_mm512_srli_epi64(a, 32), _mm512_srli_epi64(b, 32));
  return {_mm512_mask_blend_epi32(0xAAAA, _mm512_srli_epi64(even, 32), odd),
          _mm512_mask_blend_epi32(0xAAAA, even, _mm512_slli_epi64(odd, 32))};
}
#elif defined(EIGEN_VECTORIZE_AVX2)
EIGEN_ALWAYS_INLINE Halves<Words> multiply_words(const Words& a, const Words& b) {
  const auto even = _mm256_mul_epu32(a, b);
  const auto odd = _mm256_mul_epu32(_mm256_srli_epi64(a, 32), _mm256_srli_epi64(b, 32));
  return {_mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xAA),
          _mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xAA)};
}
#elif defined(EIGEN_VECTORIZE_SSE2)
EIGEN_ALWAYS_INLINE Halves<Words> multiply_words(const Words& a, const Words& b) {
  const auto even = _mm_mul_epu32(a, b);
  const auto odd = _mm_mul_epu32(_mm_srli_epi64(a, 32), _mm_srli_epi64(b, 32));
  constexpr int high = _MM_SHUFFLE(0, 0, 3, 1), low = _MM_SHUFFLE(0, 0, 2, 0);
  return {_mm_unpacklo_epi32(_mm_shuffle_epi32(even, high), _mm_shuffle_epi32(odd, high)),
          _mm_unpacklo_epi32(_mm_shuffle_epi32(even, low), _mm_shuffle_epi32(odd, low))};
}
#endif

namespace detail {
#ifdef EIGEN_VECTORIZE_AVX512
/// In two thirds of the time of Eigen's, which goes through halves of registers. (Quarters of rows that come to their
/// places as they are loaded spare half of the shuffles, but take longer: 2 % of attention_bench, n = 128, d = 64.)
EIGEN_ALWAYS_INLINE void transpose_square(Packet<float> (&rows)[16]) {
  const auto in_pairs = [](const auto& a) { return _mm512_castps_pd(a); };
  const auto alone = [](const auto& a) { return _mm512_castpd_ps(a); };
  Packet<float> t[16];
  // Squares of four within the registers' quarters: r, 4 + r, 8 + r and 12 + r then have column r of each.
  EIGENFORMER_UNROLL
  for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_ps(rows[i], rows[i + 1]);
    t[i + 1] = _mm512_unpackhi_ps(rows[i], rows[i + 1]);
  }
  EIGENFORMER_UNROLL
  for (int g = 0; g < 16; g += 4) {
    EIGENFORMER_UNROLL
    for (int i = 0; i < 2; ++i) {
      const auto upper = in_pairs(t[g + i]), lower = in_pairs(t[g + 2 + i]);
      rows[g + 2 * i] = alone(_mm512_unpacklo_pd(upper, lower));
      rows[g + 2 * i + 1] = alone(_mm512_unpackhi_pd(upper, lower));
    }
  }
  // Then the quarters.
  EIGENFORMER_UNROLL
  for (int c = 0; c < 4; ++c) {
    const auto even_upper = _mm512_shuffle_f32x4(rows[c], rows[4 + c], 0x88),
               odd_upper = _mm512_shuffle_f32x4(rows[c], rows[4 + c], 0xdd),
               even_lower = _mm512_shuffle_f32x4(rows[8 + c], rows[12 + c], 0x88),
               odd_lower = _mm512_shuffle_f32x4(rows[8 + c], rows[12 + c], 0xdd);
    t[c] = _mm512_shuffle_f32x4(even_upper, even_lower, 0x88);
    t[4 + c] = _mm512_shuffle_f32x4(odd_upper, odd_lower, 0x88);
    t[8 + c] = _mm512_shuffle_f32x4(even_upper, even_lower, 0xdd);
    t[12 + c] = _mm512_shuffle_f32x4(odd_upper, odd_lower, 0xdd);
  }
  EIGENFORMER_UNROLL
  for (int i = 0; i < 16; ++i) rows[i] = t[i];
}
#endif
template <class P, int count>
EIGEN_ALWAYS_INLINE void transpose_square(P (&rows)[count]) {
  Eigen::internal::PacketBlock<P, count> square;
  EIGENFORMER_UNROLL
  for (int i = 0; i < count; ++i) square.packet[i] = rows[i];
  Eigen::internal::ptranspose(square);
  EIGENFORMER_UNROLL
  for (int i = 0; i < count; ++i) rows[i] = square.packet[i];
}
}  // namespace detail

/// In lane i the sum of x[i]'s lanes.
template <class Scalar>
EIGEN_ALWAYS_INLINE Packet<Scalar> sums_of_lanes(Packet<Scalar> (&x)[lanes<Scalar>]) {
  detail::transpose_square(x);
  EIGENFORMER_UNROLL
  for (int step = lanes<Scalar> / 2; step > 0; step /= 2) {
    EIGENFORMER_UNROLL
    for (int i = 0; i < step; ++i) x[i] = add(x[i], x[i + step]);
  }
  return x[0];
}

/// Calls body(i, packet) for the columns of a square of scalars, whose row i is from[i * from_stride ..]. Of fewer than
/// a square, reads only the first `rows` rows, and takes the others for zeros.
template <class Scalar, class Body>
EIGEN_ALWAYS_INLINE void for_each_column(const Scalar* from, Index from_stride, Index rows, Body&& body) {
  Packet<Scalar> square[lanes<Scalar>];
  for (int i = 0; i < lanes<Scalar>; ++i) square[i] = i < rows ? load(from + i * from_stride) : broadcast(Scalar(0));
  detail::transpose_square(square);
  for (int i = 0; i < lanes<Scalar>; ++i) body(i, square[i]);
}

}  // namespace eigenformer::inline EIGENFORMER_ABI::simd

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif
