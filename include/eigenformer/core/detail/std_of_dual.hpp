// Overloads of std::exp and other functions for Dual. Calling one is a compile error that says in one sentence what to
// write instead. Without them the compiler would list every candidate overload. Adding them to namespace std is
// harmless: no program can depend on a function that does not compile.
#pragma once

#include <concepts>
#include <type_traits>

#include "eigenformer/core/dual.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

template <class Number>
inline constexpr bool is_dual = false;
template <class Scalar>
inline constexpr bool is_dual<Dual<Scalar>> = true;
template <class Number>
concept AnyDual = is_dual<Number>;
template <class Number>
concept Arithmetic = std::is_arithmetic_v<Number>;

template <class Number>
Number use_ef(const Number& x) {
  static_assert(!AnyDual<Number>,
                "functions of std have no derivative: in a score write ef::exp, ef::tanh, ef::abs, ef::log, ef::sqrt "
                "or ef::pow, and s > c ? s : c for std::max");
  return x;
}

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail

namespace std {  // NOLINT(cert-dcl58-cpp)

// clang-format off
auto exp(eigenformer::detail::AnyDual auto x) { return eigenformer::detail::use_ef(x); }
auto exp2(eigenformer::detail::AnyDual auto x) { return eigenformer::detail::use_ef(x); }
auto expm1(eigenformer::detail::AnyDual auto x) { return eigenformer::detail::use_ef(x); }
auto log(eigenformer::detail::AnyDual auto x) { return eigenformer::detail::use_ef(x); }
auto log2(eigenformer::detail::AnyDual auto x) { return eigenformer::detail::use_ef(x); }
auto log10(eigenformer::detail::AnyDual auto x) { return eigenformer::detail::use_ef(x); }
auto log1p(eigenformer::detail::AnyDual auto x) { return eigenformer::detail::use_ef(x); }
auto sqrt(eigenformer::detail::AnyDual auto x) { return eigenformer::detail::use_ef(x); }
auto cbrt(eigenformer::detail::AnyDual auto x) { return eigenformer::detail::use_ef(x); }
auto sin(eigenformer::detail::AnyDual auto x) { return eigenformer::detail::use_ef(x); }
auto cos(eigenformer::detail::AnyDual auto x) { return eigenformer::detail::use_ef(x); }
auto tan(eigenformer::detail::AnyDual auto x) { return eigenformer::detail::use_ef(x); }
auto atan(eigenformer::detail::AnyDual auto x) { return eigenformer::detail::use_ef(x); }
auto sinh(eigenformer::detail::AnyDual auto x) { return eigenformer::detail::use_ef(x); }
auto cosh(eigenformer::detail::AnyDual auto x) { return eigenformer::detail::use_ef(x); }
auto tanh(eigenformer::detail::AnyDual auto x) { return eigenformer::detail::use_ef(x); }
auto erf(eigenformer::detail::AnyDual auto x) { return eigenformer::detail::use_ef(x); }
auto abs(eigenformer::detail::AnyDual auto x) { return eigenformer::detail::use_ef(x); }
auto fabs(eigenformer::detail::AnyDual auto x) { return eigenformer::detail::use_ef(x); }
auto pow(eigenformer::detail::AnyDual auto x, eigenformer::detail::AnyDual auto) { return eigenformer::detail::use_ef(x); }
auto pow(eigenformer::detail::AnyDual auto x, eigenformer::detail::Arithmetic auto) { return eigenformer::detail::use_ef(x); }
auto pow(eigenformer::detail::Arithmetic auto, eigenformer::detail::AnyDual auto x) { return eigenformer::detail::use_ef(x); }
auto (max)(eigenformer::detail::AnyDual auto x, eigenformer::detail::Arithmetic auto) { return eigenformer::detail::use_ef(x); }
auto (max)(eigenformer::detail::Arithmetic auto, eigenformer::detail::AnyDual auto x) { return eigenformer::detail::use_ef(x); }
auto (min)(eigenformer::detail::AnyDual auto x, eigenformer::detail::Arithmetic auto) { return eigenformer::detail::use_ef(x); }
auto (min)(eigenformer::detail::Arithmetic auto, eigenformer::detail::AnyDual auto x) { return eigenformer::detail::use_ef(x); }
auto fmax(eigenformer::detail::AnyDual auto x, eigenformer::detail::Arithmetic auto) { return eigenformer::detail::use_ef(x); }
auto fmax(eigenformer::detail::Arithmetic auto, eigenformer::detail::AnyDual auto x) { return eigenformer::detail::use_ef(x); }
auto fmin(eigenformer::detail::AnyDual auto x, eigenformer::detail::Arithmetic auto) { return eigenformer::detail::use_ef(x); }
auto fmin(eigenformer::detail::Arithmetic auto, eigenformer::detail::AnyDual auto x) { return eigenformer::detail::use_ef(x); }
// clang-format on

}  // namespace std
