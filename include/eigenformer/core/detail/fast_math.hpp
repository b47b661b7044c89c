// What keeps results right where a compiler was told to take liberties with floating-point numbers (-ffast-math).
#pragma once

#include <cstdint>
#include <limits>
#include <type_traits>

#include "eigenformer/core/detail/bit_cast.hpp"
#include "eigenformer/core/types.hpp"

// Stands first in the body of a function of numbers, which simd::as_rounded is called in, and keeps Clang from
// reordering its sums.
#if defined(__clang__)
#define EIGENFORMER_KEEP_ORDER _Pragma("clang fp reassociate(off)")
#else
#define EIGENFORMER_KEEP_ORDER
#endif

namespace eigenformer::inline EIGENFORMER_ABI {

namespace detail {

/// The bits of a float or double.
template <class Scalar>
EIGEN_ALWAYS_INLINE auto bits_of(Scalar x) {
  return detail::bit_cast<std::conditional_t<sizeof(Scalar) == 4, std::uint32_t, std::uint64_t>>(x);
}

#if defined(__ASSOCIATIVE_MATH__) || defined(_M_FP_FAST)
/// 0, which no compiler knows: the variable might be written.
template <class Integer>
inline Integer unknown_zero = 0;
#endif

}  // namespace detail

namespace simd {

/// Returns x, a packet or a number, and keeps the sum that made it from being reordered with sums that follow
/// (-fassociative-math): (x + big) - big, which rounds x, would become x. Takes no instruction, or one for a number
/// where the compiler may reorder.
template <class P>
EIGEN_ALWAYS_INLINE P as_rounded(P x) {
  if constexpr (std::is_arithmetic_v<P>) {
    // Not asm, since no loop with that is vectorised; not __builtin_assoc_barrier, which GCC's vectoriser loses.
#if defined(__ASSOCIATIVE_MATH__) || defined(_M_FP_FAST)
    const auto bits = detail::bits_of(x);
    return detail::bit_cast<P>(bits ^ detail::unknown_zero<std::remove_const_t<decltype(bits)>>);
#else
    return x;
#endif
  } else {
// GCC tells of -fassociative-math, Clang does not.
#if defined(__clang__) || (defined(__GNUC__) && defined(__ASSOCIATIVE_MATH__))
#if defined(__AVX512F__)
    asm("" : "+v"(x));
#elif defined(__x86_64__) || defined(__i386__)
    asm("" : "+x"(x));
#elif defined(__ARM_NEON)
    asm("" : "+w"(x));
#else
    asm("" : "+m"(x));
#endif
#endif
    return x;
  }
}

/// Returns x, and keeps a compiler that may assume that there are no infinities (-ffinite-math-only) from seeing one in
/// a constant.
template <class P>
EIGEN_ALWAYS_INLINE P as_unknown(P x) {
#if defined(__GNUC__) && __FINITE_MATH_ONLY__
  asm("" : "+m"(x));
#endif
  return x;
}

}  // namespace simd

namespace detail {

/// Whether x is minus infinity. With -ffinite-math-only it is told by x's bits, since a comparison would be taken for
/// false.
template <class Scalar>
EIGEN_ALWAYS_INLINE bool is_minus_infinity(Scalar x) {
  constexpr Scalar infinity = std::numeric_limits<Scalar>::infinity();
#if defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__
  return bits_of(x) == bits_of(-infinity);
#else
  return x == -infinity;
#endif
}

/// Whether x is neither infinite nor NaN, told by its bits: with -ffinite-math-only std::isfinite is always true.
template <class Scalar, std::enable_if_t<std::is_floating_point_v<Scalar>, int> = 0>
bool is_finite(Scalar x) {
  const auto exponent = bits_of(std::numeric_limits<Scalar>::infinity());
  return (bits_of(x) & exponent) != exponent;
}

}  // namespace detail

}  // namespace eigenformer::inline EIGENFORMER_ABI
