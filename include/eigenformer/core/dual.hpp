// Numbers that carry a derivative, for forward-mode differentiation (Griewank and Walther 2008, chapter 3).
// f(Dual(x, 1)) returns f(x) and f'(x), for any f that is a template over its number type.
#pragma once

#include <compare>
#include <type_traits>

#include "eigenformer/core/elementary.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// value + derivative * epsilon, where epsilon^2 = 0.
template <class Scalar>
struct Dual {
  Scalar value = 0;
  Scalar derivative = 0;

  constexpr Dual() = default;
  constexpr Dual(Scalar v, Scalar d) : value(v), derivative(d) {}
  /// A constant, of any arithmetic type, so that expressions like 2 * x and x + 0.5 compile.
  template <class Number, std::enable_if_t<std::is_arithmetic_v<Number>, int> = 0>
  constexpr Dual(Number constant) : value(static_cast<Scalar>(constant)) {}  // NOLINT: implicit

  friend constexpr Dual operator-(const Dual& a) { return {-a.value, -a.derivative}; }
  friend constexpr Dual operator+(const Dual& a, const Dual& b) {
    return {a.value + b.value, a.derivative + b.derivative};
  }
  friend constexpr Dual operator-(const Dual& a, const Dual& b) {
    return {a.value - b.value, a.derivative - b.derivative};
  }
  friend constexpr Dual operator*(const Dual& a, const Dual& b) {
    return {a.value * b.value, a.derivative * b.value + a.value * b.derivative};
  }
  friend constexpr Dual operator/(const Dual& a, const Dual& b) {
    const Scalar quotient = a.value / b.value;
    return {quotient, (a.derivative - quotient * b.derivative) / b.value};
  }
  constexpr Dual& operator+=(const Dual& b) { return *this = *this + b; }
  constexpr Dual& operator-=(const Dual& b) { return *this = *this - b; }
  template <class Factor>
  constexpr Dual& operator*=(const Factor& b) {
    return *this = *this * b;
  }
  template <class Divisor>
  constexpr Dual& operator/=(const Divisor& b) {
    return *this = *this / b;
  }
  // Multiplication and division by a constant skip the products with its derivative, which is 0.
  template <class Number, std::enable_if_t<std::is_arithmetic_v<Number>, int> = 0>
  friend constexpr Dual operator*(const Dual& a, Number constant) {
    return {a.value * static_cast<Scalar>(constant), a.derivative * static_cast<Scalar>(constant)};
  }
  template <class Number, std::enable_if_t<std::is_arithmetic_v<Number>, int> = 0>
  friend constexpr Dual operator*(Number constant, const Dual& a) {
    return a * constant;
  }
  template <class Number, std::enable_if_t<std::is_arithmetic_v<Number>, int> = 0>
  friend constexpr Dual operator/(const Dual& a, Number constant) {
    return {a.value / static_cast<Scalar>(constant), a.derivative / static_cast<Scalar>(constant)};
  }

  /// Fails to compile with a message that says why.
  template <class Number, std::enable_if_t<std::is_arithmetic_v<Number>, int> = 0>
  explicit constexpr operator Number() const {
    static_assert(std::is_void_v<Number>,
                  "a score that is cast to a number loses its derivative: use auto or the type of the score");
    return {};
  }

  // Compares values only, so that a function takes the same branches as for plain numbers.
  friend constexpr bool operator==(const Dual& a, const Dual& b) { return a.value == b.value; }
  friend constexpr auto operator<=>(const Dual& a, const Dual& b) { return a.value <=> b.value; }
};

template <class Scalar>
EIGEN_ALWAYS_INLINE Dual<Scalar> exp(const Dual<Scalar>& x) {
  const Scalar y = exp(x.value);
  return {y, y * x.derivative};
}
template <class Scalar>
EIGEN_ALWAYS_INLINE Dual<Scalar> tanh(const Dual<Scalar>& x) {
  const Scalar y = tanh(x.value);
  return {y, (1 - y * y) * x.derivative};
}
/// Returns |x|. At 0 it has the derivative of x.
template <class Scalar>
EIGEN_ALWAYS_INLINE Dual<Scalar> abs(const Dual<Scalar>& x) {
  return x.value < 0 ? -x : x;
}

template <class Scalar>
Dual<Scalar> log(const Dual<Scalar>& x) {
  return {log(x.value), x.derivative / x.value};
}
template <class Scalar>
Dual<Scalar> sqrt(const Dual<Scalar>& x) {
  const Scalar y = sqrt(x.value);
  return {y, x.derivative / (2 * y)};
}
/// Returns x^exponent, for a constant exponent.
template <class Scalar, class Exponent, std::enable_if_t<std::is_arithmetic_v<Exponent>, int> = 0>
Dual<Scalar> pow(const Dual<Scalar>& x, Exponent exponent) {
  const auto n = static_cast<Scalar>(exponent);
  const Scalar slope = n == 0 ? Scalar(0) : n * pow(x.value, n - 1);  // x^0 is constant, also at x = 0
  return {pow(x.value, n), slope * x.derivative};
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
