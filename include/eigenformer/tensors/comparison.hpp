// Whether two tensors are equal, or nearly.
#pragma once

#include <cmath>
#include <cstdint>
#include <type_traits>

#include "eigenformer/tensors/reductions.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// Tolerances of all_close: |a - b| <= absolute + relative * |b|. NumPy's defaults.
struct CloseOptions {
  double relative = 1e-5;
  double absolute = 1e-8;
  bool equal_nan = false;  // whether NaN is close to NaN
};

/// Whether two tensors have the same shape and equal entries. NaN equals nothing.
template <TensorLike A, TensorLike B>
bool equal(A&& a, B&& b) {
  return detail::shape_of(a) == detail::shape_of(b) && all(a == b);
}

namespace detail {

/// Whether u differs from v by no more than the tolerances.
template <class Scalar>
bool is_close(Scalar u, Scalar v, const CloseOptions& options) {
  const auto expected = static_cast<double>(v);
  double distance = 0;
  if constexpr (std::is_integral_v<Scalar>)  // double does not hold every integer: subtracted first
    distance = static_cast<double>(u < v ? static_cast<std::uint64_t>(v) - static_cast<std::uint64_t>(u)
                                         : static_cast<std::uint64_t>(u) - static_cast<std::uint64_t>(v));
  else if (u != v)  // else infinities might differ by NaN
    distance = std::abs(static_cast<double>(u) - expected);
  if (distance == 0 || (options.equal_nan && u != u && v != v)) return true;
  return std::isfinite(expected) && distance <= options.absolute + options.relative * std::abs(expected);
}

}  // namespace detail

/// Whether two tensors, broadcast to one shape, differ by no more than the tolerances. Infinities are close if equal.
template <TensorLike A, TensorLike B>
bool all_close(A&& a, B&& b, const CloseOptions& options = {}) {
  return all(map(
      [options](const auto& x, const auto& y) {
        using X = typename std::decay_t<decltype(x)>::Scalar;
        using Y = typename std::decay_t<decltype(y)>::Scalar;
        // Integers of one type are compared as such, because double does not hold all of them.
        using Compared = std::conditional_t<std::is_integral_v<X> && std::is_same_v<X, Y>, X, double>;
        const auto close = [options](Compared u, Compared v) { return detail::is_close(u, v, options); };
        using Op = std::remove_const_t<decltype(close)>;
        return x.template cast<Compared>().binaryExpr(y.template cast<Compared>(), Op(close)).template cast<bool>();
      },
      a, b));
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
