// Operators and functions on tensors, entry by entry, with NumPy's broadcasting. They return expressions: see
// tensors/elementwise.hpp. The entries of both operands must have the same type; numbers are converted to it. An
// integer that does not fit the integer type of the entries is an error.
#pragma once

#include "eigenformer/tensors/detail/functions.hpp"
#include "eigenformer/tensors/elementwise.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// Whether A and B can be the operands of an operator: two tensors, or a tensor and a number.
template <class A, class B>
concept TensorPair = (TensorLike<A> && (TensorLike<B> || Number<std::remove_cvref_t<B>>)) ||
                     (Number<std::remove_cvref_t<A>> && TensorLike<B>);

namespace detail {

/// Converts a number to the entry type of `Other`, or to their common type if both are numbers. Returns a tensor as is.
template <class Other, class X>
decltype(auto) as_operand_with(X&& x) {
  if constexpr (Number<std::remove_cvref_t<X>> && Number<std::remove_cvref_t<Other>>) {
    return std::common_type_t<std::remove_cvref_t<X>, std::remove_cvref_t<Other>>(x);
  } else if constexpr (Number<std::remove_cvref_t<X>>) {
    return converted_number<ScalarOf<Other>>(x);
  } else {
    if constexpr (TensorLike<Other>)
      static_assert(std::is_same_v<ScalarOf<X>, ScalarOf<Other>>,
                    "tensors of different types: write cast<T>() of one of them");
    return std::forward<X>(x);
  }
}

// Eigen's max and min of two arrays may lose a NaN.
template <class Scalar>
inline constexpr int propagate_nan = std::is_integral_v<Scalar> ? Eigen::PropagateFast : Eigen::PropagateNaN;
struct Larger {
  template <class X, class Y>
  auto operator()(const X& x, const Y& y) const {
    using S = typename X::Scalar;
    return x.binaryExpr(y, Eigen::internal::scalar_max_op<S, S, propagate_nan<S>>());
  }
};
struct Smaller {
  template <class X, class Y>
  auto operator()(const X& x, const Y& y) const {
    using S = typename X::Scalar;
    return x.binaryExpr(y, Eigen::internal::scalar_min_op<S, S, propagate_nan<S>>());
  }
};

/// Returns the expression function(a, b), with numbers converted to the type of the tensor.
template <class Function, class A, class B>
auto map_pair(Function function, A&& a, B&& b) {
  return map(function, as_operand_with<B>(std::forward<A>(a)), as_operand_with<A>(std::forward<B>(b)));
}

/// Fails to compile for integers: the results of the function would lose their fractions.
template <class Scalar>
constexpr void check_fractions() {
  static_assert(!std::is_integral_v<Scalar>,
                "this function of integers has results with fractions: write cast<float>() of the tensor");
}
/// Fails to compile if an operand is a tensor of bool: true - true and -true are not truth values.
template <class... X>
constexpr void check_has_minus() {
  constexpr auto is_bool = []<class Y>(std::type_identity<Y>) {
    if constexpr (TensorLike<Y>) return std::is_same_v<ScalarOf<Y>, bool>;
    return false;
  };
  static_assert((... && !is_bool(std::type_identity<X>{})),
                "a tensor of bool has no minus: write !mask, a != b, or cast<int>() of the tensor");
}

}  // namespace detail

// --- Arithmetic ------------------------------------------------------------------------------------------------------

/// The sum of entries.
template <class A, class B>
requires TensorPair<A, B>
auto operator+(A&& a, B&& b) {
  return detail::map_pair([](const auto& x, const auto& y) { return x + y; }, std::forward<A>(a), std::forward<B>(b));
}
/// The difference of entries.
template <class A, class B>
requires TensorPair<A, B>
auto operator-(A&& a, B&& b) {
  detail::check_has_minus<A, B>();
  return detail::map_pair([](const auto& x, const auto& y) { return x - y; }, std::forward<A>(a), std::forward<B>(b));
}
/// The product of entries. For matrix products see tensors/matmul.hpp.
template <class A, class B>
requires TensorPair<A, B>
auto operator*(A&& a, B&& b) {
  return detail::map_pair([](const auto& x, const auto& y) { return x * y; }, std::forward<A>(a), std::forward<B>(b));
}
/// The quotient of entries. Integers are divided as in C++: towards 0. Throws if they are divided by the number 0; if b
/// is a tensor of integers, none of its entries may be 0. The lowest integer must not be divided by -1.
template <class A, class B>
requires TensorPair<A, B>
auto operator/(A&& a, B&& b) {
  if constexpr (TensorLike<A>) detail::check_divisor<ScalarOf<A>>(b);
  return detail::map_pair([](const auto& x, const auto& y) { return x / y; }, std::forward<A>(a), std::forward<B>(b));
}
/// The entries with the opposite sign.
template <TensorLike X>
auto operator-(X&& x) {
  detail::check_has_minus<X>();
  return map([](const auto& a) { return -a; }, std::forward<X>(x));
}
/// The larger of two entries; NaN if one of them is.
template <class A, class B>
requires TensorPair<A, B>
auto maximum(A&& a, B&& b) {
  return detail::map_pair(detail::Larger(), std::forward<A>(a), std::forward<B>(b));
}
/// The smaller of two entries; NaN if one of them is.
template <class A, class B>
requires TensorPair<A, B>
auto minimum(A&& a, B&& b) {
  return detail::map_pair(detail::Smaller(), std::forward<A>(a), std::forward<B>(b));
}
/// Entries below `low` become low, and entries above `high` become high.
template <TensorLike X, class Low, class High>
auto clamp(X&& x, Low&& low, High&& high) {
  return minimum(maximum(std::forward<X>(x), std::forward<Low>(low)), std::forward<High>(high));
}

// --- Comparisons and logic: expressions of bool ----------------------------------------------------------------------

/// Returns a < b, entry by entry.
template <class A, class B>
requires TensorPair<A, B>
auto operator<(A&& a, B&& b) {
  return detail::map_pair([](const auto& x, const auto& y) { return x < y; }, std::forward<A>(a), std::forward<B>(b));
}
/// Returns a <= b, entry by entry.
template <class A, class B>
requires TensorPair<A, B>
auto operator<=(A&& a, B&& b) {
  return detail::map_pair([](const auto& x, const auto& y) { return x <= y; }, std::forward<A>(a), std::forward<B>(b));
}
/// Returns a > b, entry by entry.
template <class A, class B>
requires TensorPair<A, B>
auto operator>(A&& a, B&& b) {
  return detail::map_pair([](const auto& x, const auto& y) { return x > y; }, std::forward<A>(a), std::forward<B>(b));
}
/// Returns a >= b, entry by entry.
template <class A, class B>
requires TensorPair<A, B>
auto operator>=(A&& a, B&& b) {
  return detail::map_pair([](const auto& x, const auto& y) { return x >= y; }, std::forward<A>(a), std::forward<B>(b));
}
/// Compares entry by entry. To compare whole tensors, see equal() in tensors/comparison.hpp.
template <class A, class B>
requires TensorPair<A, B>
auto operator==(A&& a, B&& b) {
  return detail::map_pair([](const auto& x, const auto& y) { return x == y; }, std::forward<A>(a), std::forward<B>(b));
}
/// Compares entry by entry: whether entries differ.
template <class A, class B>
requires TensorPair<A, B>
auto operator!=(A&& a, B&& b) {
  return detail::map_pair([](const auto& x, const auto& y) { return x != y; }, std::forward<A>(a), std::forward<B>(b));
}
/// Whether both entries are true.
template <TensorLike A, TensorLike B>
auto operator&&(A&& a, B&& b) {
  static_assert(std::is_same_v<ScalarOf<A>, bool> && std::is_same_v<ScalarOf<B>, bool>, "&& takes tensors of bool");
  return map([](const auto& x, const auto& y) { return x && y; }, std::forward<A>(a), std::forward<B>(b));
}
/// Whether one or both of the entries are true.
template <TensorLike A, TensorLike B>
auto operator||(A&& a, B&& b) {
  static_assert(std::is_same_v<ScalarOf<A>, bool> && std::is_same_v<ScalarOf<B>, bool>, "|| takes tensors of bool");
  return map([](const auto& x, const auto& y) { return x || y; }, std::forward<A>(a), std::forward<B>(b));
}
/// Whether an entry is false.
template <TensorLike X>
auto operator!(X&& x) {
  static_assert(std::is_same_v<ScalarOf<X>, bool>, "! takes a tensor of bool");
  return map([](const auto& a) { return a != true; }, std::forward<X>(x));
}
template <TensorLike X>
auto isnan(X&& x) {
  return map([](const auto& a) { return a.isNaN(); }, std::forward<X>(x));
}
template <TensorLike X>
auto isfinite(X&& x) {
  return map([](const auto& a) { return a.isFinite(); }, std::forward<X>(x));
}

/// The entries of a where the condition holds, and of b elsewhere. a and b are tensors or numbers.
template <TensorLike Condition, class A, class B>
auto where(Condition&& condition, A&& a, B&& b) {
  static_assert(std::is_same_v<ScalarOf<Condition>, bool>, "where takes a condition of bool");
  return map([](const auto& c, const auto& x, const auto& y) { return c.select(x, y); },
             std::forward<Condition>(condition), detail::as_operand_with<B>(std::forward<A>(a)),
             detail::as_operand_with<A>(std::forward<B>(b)));
}
/// x, with entries replaced by `value` where the mask is true.
template <TensorLike X, TensorLike Mask, class Value>
auto masked_fill(X&& x, Mask&& mask, Value&& value) {
  return where(std::forward<Mask>(mask), std::forward<Value>(value), std::forward<X>(x));
}

// --- Functions -------------------------------------------------------------------------------------------------------

/// The entries as another type. A number that becomes an integer loses its fraction. NaN and numbers out of the
/// integer's range give unspecified results, as in NumPy.
template <class Other, TensorLike X>
auto cast(X&& x) {
  return map([](const auto& a) { return a.template cast<Other>(); }, std::forward<X>(x));
}
template <TensorLike X>
auto abs(X&& x) {
  return map([](const auto& a) { return a.abs(); }, std::forward<X>(x));
}
template <TensorLike X>
auto square(X&& x) {
  return map([](const auto& a) { return a.square(); }, std::forward<X>(x));
}
template <TensorLike X>
auto sqrt(X&& x) {
  detail::check_fractions<ScalarOf<X>>();
  return map([](const auto& a) { return detail::computed<detail::SquareRoot>(a); }, std::forward<X>(x));
}
/// 1 / sqrt(x).
template <TensorLike X>
auto rsqrt(X&& x) {
  detail::check_fractions<ScalarOf<X>>();
  return map([](const auto& a) { return detail::computed<detail::SquareRoot>(a).inverse(); }, std::forward<X>(x));
}
template <TensorLike X>
auto exp(X&& x) {
  detail::check_fractions<ScalarOf<X>>();
  return map([](const auto& a) { return detail::computed<detail::FullExponential>(a); }, std::forward<X>(x));
}
template <TensorLike X>
auto log(X&& x) {
  detail::check_fractions<ScalarOf<X>>();
  return map([](const auto& a) { return detail::computed<detail::Logarithm>(a); }, std::forward<X>(x));
}
/// log(1 + x), also accurate for small x.
template <TensorLike X>
auto log1p(X&& x) {
  detail::check_fractions<ScalarOf<X>>();
  return map([](const auto& a) { return a.log1p(); }, std::forward<X>(x));
}
/// exp(x) - 1, also accurate for small x.
template <TensorLike X>
auto expm1(X&& x) {
  detail::check_fractions<ScalarOf<X>>();
  return map([](const auto& a) { return detail::computed<detail::ExponentialMinusOne>(a); }, std::forward<X>(x));
}
template <TensorLike X>
auto sin(X&& x) {
  detail::check_fractions<ScalarOf<X>>();
  return map([](const auto& a) { return a.sin(); }, std::forward<X>(x));
}
template <TensorLike X>
auto cos(X&& x) {
  detail::check_fractions<ScalarOf<X>>();
  return map([](const auto& a) { return a.cos(); }, std::forward<X>(x));
}
template <TensorLike X>
auto tanh(X&& x) {
  detail::check_fractions<ScalarOf<X>>();
  return map([](const auto& a) { return a.tanh(); }, std::forward<X>(x));
}
/// 1 / (1 + exp(-x)).
template <TensorLike X>
auto sigmoid(X&& x) {
  detail::check_fractions<ScalarOf<X>>();
  return map([](const auto& a) { return detail::computed<detail::LogisticFunction>(a); }, std::forward<X>(x));
}
/// max(x, 0); NaN stays NaN.
template <TensorLike X>
auto relu(X&& x) {
  return maximum(std::forward<X>(x), ScalarOf<X>(0));
}

namespace detail {

/// Returns function(x), or x itself if it holds integers. Eigen would compute them in double, which cannot hold all.
template <class Function, class X>
auto map_rounding(Function function, X&& x) {
  if constexpr (std::is_integral_v<ScalarOf<X>>)
    return cast<ScalarOf<X>>(std::forward<X>(x));
  else
    return map(function, std::forward<X>(x));
}

}  // namespace detail

template <TensorLike X>
auto floor(X&& x) {
  return detail::map_rounding([](const auto& a) { return a.floor(); }, std::forward<X>(x));
}
template <TensorLike X>
auto ceil(X&& x) {
  return detail::map_rounding([](const auto& a) { return a.ceil(); }, std::forward<X>(x));
}
/// The nearest integer; halves go to the even one, as in NumPy.
template <TensorLike X>
auto round(X&& x) {
  return detail::map_rounding([](const auto& a) { return a.rint(); }, std::forward<X>(x));
}
/// -1, 0 or 1; NaN stays NaN, as in NumPy.
template <TensorLike X>
auto sign(X&& x) {
  return map([](const auto& a) { return a.sign(); }, std::forward<X>(x));
}
/// x to the power of a number. Throws if x holds integers and the exponent is negative.
template <TensorLike X, class Exponent>
requires(std::is_arithmetic_v<Exponent>) auto pow(X&& x, Exponent exponent) {
  if constexpr (std::is_integral_v<ScalarOf<X>> && std::is_signed_v<Exponent>)
    check(exponent >= 0, "pow: the exponent of integers is ", exponent, ", expected 0 or more");
  const auto power = detail::converted_number<ScalarOf<X>>(exponent);
  return map(
      [power](const auto& a) {
        using Scalar = ScalarOf<X>;
        if constexpr (std::is_integral_v<Scalar>) {
          return a.pow(power);
        } else {
          using Compute = ComputeType<Scalar>;
          const auto y = static_cast<Compute>(power);
          const auto wide = a.template cast<Compute>();
          return wide.binaryExpr(wide.abs().pow(y), detail::SignedPower<Compute>(y)).template cast<Scalar>();
        }
      },
      std::forward<X>(x));
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
