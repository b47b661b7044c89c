// Guards that keep results correct under -ffast-math.
#pragma once

#include <cstdint>
#include <limits>
#include <type_traits>

#include "eigenformer/core/detail/bit_cast.hpp"
#include "eigenformer/core/types.hpp"

// Keeps Clang from reordering the sums of a function. Put it first in the body of any scalar function that calls
// simd::as_rounded.
#if defined(__clang__)
#define EIGENFORMER_KEEP_ORDER _Pragma("clang fp reassociate(off)")
#else
#define EIGENFORMER_KEEP_ORDER
#endif

namespace eigenformer::inline EIGENFORMER_ABI {

namespace detail {

/// Returns the bits of a float or double as an unsigned integer.
template <class Scalar>
EIGEN_ALWAYS_INLINE auto bits_of(Scalar x) {
  return detail::bit_cast<std::conditional_t<sizeof(Scalar) == 4, std::uint32_t, std::uint64_t>>(x);
}

#if defined(__ASSOCIATIVE_MATH__) || defined(_M_FP_FAST)
/// Always 0, but the compiler cannot know it, because the variable might be written.
template <class Integer>
inline Integer unknown_zero = 0;
#endif

}  // namespace detail

namespace simd {

/// Returns x, a packet or a number, unchanged. If x is the result of a sum, -fassociative-math cannot merge that sum
/// with later ones. Without as_rounded, the compiler would simplify (x + big) - big, which rounds x, to x. Costs no
/// instruction for a packet, and one for a number where the compiler may reorder.
template <class P>
EIGEN_ALWAYS_INLINE P as_rounded(P x) {
  if constexpr (std::is_arithmetic_v<P>) {
    // asm would prevent vectorisation, and GCC's vectoriser drops __builtin_assoc_barrier.
#if defined(__ASSOCIATIVE_MATH__) || defined(_M_FP_FAST)
    const auto bits = eigenformer::detail::bits_of(x);
    using Bits = std::remove_const_t<decltype(bits)>;
    return eigenformer::detail::bit_cast<P>(bits ^ eigenformer::detail::unknown_zero<Bits>);
#else
    return x;
#endif
  } else {
// GCC defines a macro for -fassociative-math; Clang does not.
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

/// Returns x unchanged and hides its value from the compiler. Under -ffinite-math-only the compiler may assume that
/// there are no infinities, so it must not see an infinite constant.
template <class P>
EIGEN_ALWAYS_INLINE P as_unknown(P x) {
#if defined(__GNUC__) && __FINITE_MATH_ONLY__
  asm("" : "+m"(x));
#endif
  return x;
}

}  // namespace simd

namespace detail {

/// Returns whether x is minus infinity. Under -ffinite-math-only it compares bits, because the compiler would fold the
/// floating-point comparison to false.
template <class Scalar>
EIGEN_ALWAYS_INLINE bool is_minus_infinity(Scalar x) {
  constexpr Scalar infinity = std::numeric_limits<Scalar>::infinity();
#if defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__
  return bits_of(x) == bits_of(-infinity);
#else
  return x == -infinity;
#endif
}

/// Returns whether x is neither infinite nor NaN. It tests bits, because std::isfinite is always true under
/// -ffinite-math-only.
template <class Scalar, std::enable_if_t<std::is_floating_point_v<Scalar>, int> = 0>
bool is_finite(Scalar x) {
  const auto exponent = bits_of(std::numeric_limits<Scalar>::infinity());
  return (bits_of(x) & exponent) != exponent;
}

}  // namespace detail

}  // namespace eigenformer::inline EIGENFORMER_ABI
