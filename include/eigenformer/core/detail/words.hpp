// SIMD registers of unsigned 32-bit integers, for counters and random draws.
#pragma once

#include "eigenformer/core/simd.hpp"

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wignored-attributes"  // vector types as template arguments: harmless
#endif

namespace eigenformer::inline EIGENFORMER_ABI::simd {

/// The widest type that multiply_words takes: a register of 32-bit integers on x86, elsewhere a single integer. A loop
/// over single integers leaves vectorising to the compiler.
#if defined(EIGEN_VECTORIZE_AVX512)
using Words = Eigen::internal::Packet16i;
#elif defined(EIGEN_VECTORIZE_AVX2)
using Words = Eigen::internal::Packet8i;
#elif defined(EIGEN_VECTORIZE_SSE2)
using Words = Eigen::internal::Packet4i;
#else
using Words = std::uint32_t;
#endif

/// The type in which to process `count` integers: Words if they fill whole registers, else single integers.
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

/// The upper and lower 32 bits of 64-bit products.
template <class W>
struct Halves {
  W high, low;
};

EIGEN_ALWAYS_INLINE Halves<std::uint32_t> multiply_words(std::uint32_t a, std::uint32_t b) {
  const std::uint64_t product = std::uint64_t{a} * b;
  return {static_cast<std::uint32_t>(product >> 32), static_cast<std::uint32_t>(product)};
}
// x86 multiplies only every other 32-bit integer of a register. When GCC 12 vectorises a scalar loop, it therefore
// widens and narrows the integers, which takes three times the instructions.
// Measured: scores_bench, dropout with AVX2, GCC 12: 82 instead of 87 % of the plain kernel's speed.
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

}  // namespace eigenformer::inline EIGENFORMER_ABI::simd

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif
