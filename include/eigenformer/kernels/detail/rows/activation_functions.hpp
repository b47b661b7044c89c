// The activation functions and their derivatives, on one RowPiece at a time. At -inf and inf they return the limits.
#pragma once

#include <cmath>
#include <cstddef>

#include "eigenformer/kernels/detail/rows/row_pieces.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

/// The logistic function and its derivative. Both use exp(-|x|), which cannot overflow.
template <class Scalar>
struct Logistic {
  explicit Logistic(const RowPiece<Scalar>& x) {
    const RowPiece<Scalar> e = exp_or_zero<Scalar>(-x.abs());
    const RowPiece<Scalar> scale = (e + Scalar(1)).inverse();
    value = maximum(e, step(x)) * scale;  // 1 / (1 + e) where x > 0, e / (1 + e) where x < 0
    slope = e * scale * scale;
  }
  RowPiece<Scalar> value;
  RowPiece<Scalar> slope;
};

/// Returns the polynomial in x by Horner's rule. The coefficient of the highest power comes first.
template <class Scalar, std::size_t count>
RowPiece<Scalar> polynomial(const RowPiece<Scalar>& x, const Scalar (&coefficients)[count]) {
  RowPiece<Scalar> sum = RowPiece<Scalar>::Constant(coefficients[0]);
  for (std::size_t k = 1; k < count; ++k) sum = sum * x + coefficients[k];
  return sum;
}

/// The normal distribution at |x|: its density, and its tail erfc(|x| / sqrt(2)) / 2.
template <class Scalar>
struct NormalTail {
  // Beyond this distance both are 0.
  static constexpr Scalar limit = std::is_same_v<Scalar, float> ? Scalar(13.25) : Scalar(40);

  explicit NormalTail(const RowPiece<Scalar>& x) : distance(minimum(x.abs(), limit)) {
    const RowPiece<Scalar> e = exp_or_zero<Scalar>(Scalar(-0.5) * distance.square());
    density = Scalar(0.39894228040143268) * e;
    if constexpr (std::is_same_v<Scalar, float>) {
      // tail / e as a quotient of polynomials in the distance, fitted for the least relative error: 4.2e-8. All
      // coefficients are positive, so nothing cancels.
      const RowPiece<float> above = polynomial(distance, {0.00401593F, 0.039955277F, 0.18122068F, 0.435569495F, 0.5F});
      const RowPiece<float> below =
          polynomial(distance, {0.0100662997F, 0.100160457F, 0.464153171F, 1.19412565F, 1.66902387F, 1.0F});
      tail = e * above / below;
    } else {
      for (Index k = 0; k < piece_size<Scalar>; ++k) tail[k] = std::erfc(distance[k] * Scalar(0.70710678118654752)) / 2;
    }
  }
  RowPiece<Scalar> distance;
  RowPiece<Scalar> density;
  RowPiece<Scalar> tail;
};

/// Returns x clamped to [-limit, limit]. Callers multiply it by a factor that is 0 beyond the limit; clamping avoids 0
/// times infinity.
template <class Scalar>
RowPiece<Scalar> clamped(const RowPiece<Scalar>& x, Scalar limit) {
  return minimum(maximum(x, -limit), limit);
}

struct Relu {
  template <class Scalar>
  static RowPiece<Scalar> value(const RowPiece<Scalar>& x) {
    return maximum(x, Scalar(0));
  }
  // Selected, not multiplied: an infinite gradient at an inactive unit is 0, not NaN.
  template <class Scalar>
  static RowPiece<Scalar> gradient(const RowPiece<Scalar>& x, const RowPiece<Scalar>& d_y) {
    return where_positive(x, d_y);
  }
};

struct Gelu {
  // x times the normal distribution function: the tail where x < 0, and 1 - tail where x > 0.
  template <class Scalar>
  static RowPiece<Scalar> value(const RowPiece<Scalar>& x) {
    const NormalTail<Scalar> normal(x);
    return maximum(x, Scalar(0)) - normal.distance * normal.tail;
  }
  template <class Scalar>
  static RowPiece<Scalar> derivative(const RowPiece<Scalar>& x) {
    const NormalTail<Scalar> normal(x);
    return normal.tail + step(x) * (Scalar(1) - 2 * normal.tail) + clamped(x, normal.limit) * normal.density;
  }
};

struct GeluTanh {
  // (1 + tanh(u)) / 2 is the logistic function of 2 u.
  static constexpr double root = 2 * 0.79788456080286536;  // 2 sqrt(2 / pi)
  static constexpr double cubic = 0.044715;
  static constexpr double limit = 30;  // exp(-2 u) is 0 in double

  template <class Scalar>
  static Logistic<Scalar> gate(const RowPiece<Scalar>& x) {
    return Logistic<Scalar>(Scalar(root) * x * (Scalar(1) + Scalar(cubic) * x.square()));
  }
  template <class Scalar>
  static RowPiece<Scalar> value(const RowPiece<Scalar>& x) {
    return maximum(x, Scalar(-limit)) * gate(x).value;
  }
  template <class Scalar>
  static RowPiece<Scalar> derivative(const RowPiece<Scalar>& x) {
    const Logistic<Scalar> g = gate(x);
    const RowPiece<Scalar> h = clamped(x, Scalar(limit));
    return g.value + h * g.slope * (Scalar(root) * (Scalar(1) + Scalar(3 * cubic) * h.square()));
  }
};

struct Silu {
  static constexpr double limit = 800;  // exp(-x) is 0 in double
  template <class Scalar>
  static RowPiece<Scalar> value(const RowPiece<Scalar>& x) {
    return maximum(x, Scalar(-limit)) * Logistic<Scalar>(x).value;
  }
  template <class Scalar>
  static RowPiece<Scalar> derivative(const RowPiece<Scalar>& x) {
    const Logistic<Scalar> g(x);
    return g.value + clamped(x, Scalar(limit)) * g.slope;
  }
};

struct Sigmoid {
  template <class Scalar>
  static RowPiece<Scalar> value(const RowPiece<Scalar>& x) {
    return Logistic<Scalar>(x).value;
  }
  template <class Scalar>
  static RowPiece<Scalar> derivative(const RowPiece<Scalar>& x) {
    return Logistic<Scalar>(x).slope;
  }
};

struct Tanh {
  template <class Scalar>
  static RowPiece<Scalar> value(const RowPiece<Scalar>& x) {
    return x.tanh();
  }
  template <class Scalar>
  static RowPiece<Scalar> derivative(const RowPiece<Scalar>& x) {
    return 4 * Logistic<Scalar>(2 * x).slope;  // 1 - tanh(x)^2 would cancel where it is small
  }
};

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
