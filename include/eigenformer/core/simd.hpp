// SIMD operations on Eigen's packets. They work for every instruction set and compiler that Eigen supports.
#pragma once

#include <array>
#include <cstdint>
#include <type_traits>

#include "eigenformer/core/detail/bit_cast.hpp"
#include "eigenformer/core/types.hpp"

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wignored-attributes"  // vector types as template arguments: harmless
#endif

namespace eigenformer::inline EIGENFORMER_ABI::simd {

/// A SIMD register of scalars, or the scalar itself where Eigen does not vectorise the type.
template <class Scalar>
using Packet = typename Eigen::internal::packet_traits<Scalar>::type;

/// The number of scalars in a packet.
template <class Scalar>
inline constexpr int lanes = Eigen::internal::unpacket_traits<Packet<Scalar>>::size;

/// The number of SIMD registers.
inline constexpr int registers = EIGEN_ARCH_DEFAULT_NUMBER_OF_REGISTERS;

template <class Scalar>
EIGEN_ALWAYS_INLINE Packet<Scalar> load(const Scalar* from) {
  return Eigen::internal::ploadu<Packet<Scalar>>(from);
}
/// Makes GCC keep a packet in its register up to here. Otherwise GCC 12 may overwrite that register with a sum and then
/// move the sum to its own register, or reload the packet from memory on each use. Does nothing without FMA, where GCC
/// would run out of registers.
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
/// Prefetches the cache line at `address` into all cache levels.
template <class Scalar>
EIGEN_ALWAYS_INLINE void prefetch(const Scalar* address) {
  Eigen::internal::prefetch(address);
}
/// Prefetches the cache line at `address` into the L2 cache only: for rows that would evict each other from L1.
template <class Scalar>
EIGEN_ALWAYS_INLINE void prefetch_to_second([[maybe_unused]] const Scalar* address) {
#if defined(EIGEN_VECTORIZE_SSE)
  _mm_prefetch(reinterpret_cast<const char*>(address), _MM_HINT_T1);
#elif defined(__GNUC__)
  __builtin_prefetch(address, 0, 2);
#endif
}
template <class Scalar>
EIGEN_ALWAYS_INLINE Packet<Scalar> broadcast(const Scalar& value) {
  return Eigen::internal::pset1<Packet<Scalar>>(value);
}
/// Returns [first, first + 1, first + 2, ..].
template <class Scalar>
EIGEN_ALWAYS_INLINE Packet<Scalar> count_from(const Scalar& first) {
  return Eigen::internal::plset<Packet<Scalar>>(first);
}
/// Returns the lanes in reverse order.
template <class Scalar>
EIGEN_ALWAYS_INLINE Packet<Scalar> reverse(const Packet<Scalar>& a) {
  return Eigen::internal::preverse(a);
}
/// Returns a * b + c, fused where the machine has FMA.
template <class P>
EIGEN_ALWAYS_INLINE P multiply_add(const P& a, const P& b, const P& c) {
  return Eigen::internal::pmadd(a, b, c);
}
/// Returns a * b - c, fused where the machine has FMA.
template <class P>
EIGEN_ALWAYS_INLINE P multiply_subtract(const P& a, const P& b, const P& c) {
  return Eigen::internal::pmadd(a, b, Eigen::internal::pnegate(c));
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
/// Returns the natural logarithm; minus infinity for 0.
template <class P>
EIGEN_ALWAYS_INLINE P log(const P& a) {
  return Eigen::internal::plog(a);
}
/// Returns the maximum, lane by lane. A NaN in `a` propagates.
template <class P>
EIGEN_ALWAYS_INLINE P maximum(const P& a, const P& b) {
  return Eigen::internal::pmax(a, b);
}
/// Returns the minimum, lane by lane. A NaN in `a` propagates.
template <class P>
EIGEN_ALWAYS_INLINE P minimum(const P& a, const P& b) {
  return Eigen::internal::pmin(a, b);
}
/// Returns, lane by lane, `yes` where a < b and `no` elsewhere, including where a or b is NaN.
template <class P>
EIGEN_ALWAYS_INLINE P select_less(const P& a, const P& b, const P& yes, const P& no) {
#ifdef EIGEN_VECTORIZE_AVX512
  // Use the mask directly: Eigen 3.4 would expand it to a vector and turn that back into a mask.
  using Scalar = typename Eigen::internal::unpacket_traits<P>::type;
  if constexpr (std::is_same_v<Scalar, float> && sizeof(P) == 64)
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_LT_OQ), no, yes);
  else if constexpr (std::is_same_v<Scalar, double> && sizeof(P) == 64)
    return _mm512_mask_blend_pd(_mm512_cmp_pd_mask(a, b, _CMP_LT_OQ), no, yes);
  else
#endif
    return Eigen::internal::pselect(Eigen::internal::pcmp_lt(a, b), yes, no);
}
template <class Scalar>
EIGEN_ALWAYS_INLINE Scalar sum_of_lanes(const Packet<Scalar>& a) {
  return Eigen::internal::predux(a);
}
/// Returns the largest lane. If a lane is NaN, the result may be any lane.
template <class Scalar>
EIGEN_ALWAYS_INLINE Scalar max_of_lanes(const Packet<Scalar>& a) {
  return Eigen::internal::predux_max(a);
}

/// Returns table[integers[l] modulo lanes] in lane l. The table fills a packet.
template <class Scalar>
EIGEN_ALWAYS_INLINE Packet<Scalar> look_up(const Scalar* table, const std::int32_t* integers) {
#ifdef EIGEN_VECTORIZE_AVX512
  if constexpr (lanes<Scalar> == 16) return _mm512_permutexvar_ps(_mm512_loadu_si512(integers), load(table));
#elif defined(EIGEN_VECTORIZE_AVX2)
  if constexpr (lanes<Scalar> == 8)
    return _mm256_permutevar8x32_ps(load(table), _mm256_loadu_si256(reinterpret_cast<const __m256i*>(integers)));
#endif
  alignas(sizeof(Scalar) * lanes<Scalar>) Scalar values[lanes<Scalar>];
  for (int l = 0; l < lanes<Scalar>; ++l) values[l] = table[integers[l] & (lanes<Scalar> - 1)];
  return load(values);
}

/// Returns whether integers[i] equals integers[0] + step * i for all i below count. step: -1, 0 or 1.
template <int count, std::int32_t step>
EIGEN_ALWAYS_INLINE bool in_sequence(const std::int32_t* integers) {
  static_assert(step >= -1 && step <= 1);
#ifdef EIGEN_VECTORIZE_AVX512
  if constexpr (count == 16) {
    const __m512i places = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const __m512i first = _mm512_set1_epi32(integers[0]);
    const __m512i expected = step == 0  ? first
                             : step > 0 ? _mm512_add_epi32(first, places)
                                        : _mm512_sub_epi32(first, places);
    return _mm512_cmpneq_epi32_mask(_mm512_loadu_si512(integers), expected) == 0;
  }
#elif defined(EIGEN_VECTORIZE_AVX2)
  if constexpr (count == 8) {
    const __m256i places = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    const __m256i first = _mm256_set1_epi32(integers[0]);
    const __m256i expected = step == 0  ? first
                             : step > 0 ? _mm256_add_epi32(first, places)
                                        : _mm256_sub_epi32(first, places);
    const __m256i given = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(integers));
    return _mm256_movemask_epi8(_mm256_cmpeq_epi32(given, expected)) == -1;
  }
#endif
  std::int32_t differences = 0;
  for (std::int32_t i = 0; i < count; ++i) differences |= integers[i] ^ (integers[0] + step * i);
  return differences == 0;
}

namespace detail {
/// Returns 32-bit integers that fill a packet. Each integer that lies in lane l has only bit l set.
template <class Scalar>
constexpr auto bit_of_lane() {
  std::array<int, lanes<float>> bits{};
  for (std::size_t i = 0; i < bits.size(); ++i) bits[i] = 1 << (i * sizeof(int) / sizeof(Scalar));
  return bits;
}
}  // namespace detail

/// Returns, in lane l, `yes` if bit l is set and `no` otherwise.
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
    // Expanding the bits to numbers and comparing those is slower: GCC 12 shifts the bits one by one.
    // Measured: scores_bench, dense_mask_random with AVX2, GCC 12: 79 instead of 87 % of the plain kernel's speed.
    using Bits = typename Eigen::internal::unpacket_traits<Floats>::integer_packet;
    static constexpr auto places = detail::bit_of_lane<Scalar>();
    const Bits own = Eigen::internal::pand(Eigen::internal::pset1<Bits>(static_cast<int>(bits)),
                                           Eigen::internal::ploadu<Bits>(places.data()));
    const Bits clear = Eigen::internal::pcmp_eq(own, Eigen::internal::pset1<Bits>(0));
    return Eigen::internal::pselect(eigenformer::detail::bit_cast<Packet<Scalar>>(clear), no, yes);
  }
#endif
}
/// Returns whether a < b in any lane.
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
#ifdef EIGEN_VECTORIZE_AVX512
/// Transposes 16 packets in two thirds of the time of Eigen's version, which works on half registers. Loading quarter
/// rows straight into place saves half of the shuffles but is slower.
/// Measured: quarter-row loads cost 2 % of attention_bench, n = 128, d = 64.
EIGEN_ALWAYS_INLINE void transpose_square(Packet<float> (&rows)[16]) {
  const auto in_pairs = [](const auto& a) { return _mm512_castps_pd(a); };
  const auto alone = [](const auto& a) { return _mm512_castpd_ps(a); };
  Packet<float> t[16];
  // Transpose the 4 x 4 squares in each 128-bit quarter. Register g + r then holds column r of the four squares in rows
  // g to g + 3.
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
  // Then transpose the quarters.
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

/// Returns, in lane i, the sum of the lanes of x[i]. Overwrites x.
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

/// Calls body(i, packet) with each column i of a square of lanes x lanes scalars. Row i begins at
/// from[i * from_stride]. Only the first `rows` rows are read; the others count as zeros.
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
