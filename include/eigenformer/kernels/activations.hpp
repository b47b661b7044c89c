// Activation functions, entry by entry. Each comes as
//   NAME_forward<Scalar>(x, y)         y = f(x)
//   NAME_backward<Scalar>(x, d_y, d_x) d_x = d_y f'(x)
//   NAME(x)                            a new matrix, of any Eigen matrix or expression
// All matrices are [rows x cols]; y may be x, and d_x may be d_y. At -inf and inf the values are the limits: a NaN
// comes only of a NaN.
#pragma once

#include <cmath>

#include "eigenformer/core/check.hpp"
#include "eigenformer/core/named_enum.hpp"
#include "eigenformer/kernels/detail/rows/lanes.hpp"
#include "eigenformer/kernels/detail/rows/row_blocks.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

namespace detail {

/// The logistic function and its derivative. Both come of exp(-|x|), which cannot overflow.
template <class Scalar>
struct Logistic {
  explicit Logistic(const Lanes<Scalar>& x) {
    const Lanes<Scalar> e = exp_or_zero<Scalar>(-x.abs());
    const Lanes<Scalar> scale = (e + Scalar(1)).inverse();
    value = maximum(e, step(x)) * scale;  // 1 / (1 + e) where x > 0, e / (1 + e) where x < 0
    slope = e * scale * scale;
  }
  Lanes<Scalar> value;
  Lanes<Scalar> slope;
};

/// The coefficients' polynomial in x, by Horner's rule: that of the highest power comes first.
template <class Scalar, std::size_t count>
Lanes<Scalar> polynomial(const Lanes<Scalar>& x, const Scalar (&coefficients)[count]) {
  Lanes<Scalar> sum = Lanes<Scalar>::Constant(coefficients[0]);
  for (std::size_t k = 1; k < count; ++k) sum = sum * x + coefficients[k];
  return sum;
}

/// The normal distribution beyond |x|: its density there, and its tail erfc(|x| / sqrt(2)) / 2.
template <class Scalar>
struct NormalTail {
  // Beyond this distance both are 0.
  static constexpr Scalar limit = std::is_same_v<Scalar, float> ? Scalar(13.25) : Scalar(40);

  explicit NormalTail(const Lanes<Scalar>& x) : distance(minimum(x.abs(), limit)) {
    const Lanes<Scalar> e = exp_or_zero<Scalar>(Scalar(-0.5) * distance.square());
    density = Scalar(0.39894228040143268) * e;
    if constexpr (std::is_same_v<Scalar, float>) {
      // tail / e by a quotient of polynomials in the distance, fitted for the least relative error: 4.2e-8. All
      // coefficients are positive, so nothing cancels.
      const Lanes<float> above = polynomial(distance, {0.00401593F, 0.039955277F, 0.18122068F, 0.435569495F, 0.5F});
      const Lanes<float> below =
          polynomial(distance, {0.0100662997F, 0.100160457F, 0.464153171F, 1.19412565F, 1.66902387F, 1.0F});
      tail = e * above / below;
    } else {
      for (Index k = 0; k < lane_count<Scalar>; ++k) tail[k] = std::erfc(distance[k] * Scalar(0.70710678118654752)) / 2;
    }
  }
  Lanes<Scalar> distance;
  Lanes<Scalar> density;
  Lanes<Scalar> tail;
};

/// x, held to [-limit, limit]: for factors whose other factor is 0 beyond, so that it is not multiplied by infinity.
template <class Scalar>
Lanes<Scalar> held(const Lanes<Scalar>& x, Scalar limit) {
  return minimum(maximum(x, -limit), limit);
}

struct Relu {
  template <class Scalar>
  static Lanes<Scalar> value(const Lanes<Scalar>& x) {
    return maximum(x, Scalar(0));
  }
  template <class Scalar>
  static Lanes<Scalar> derivative(const Lanes<Scalar>& x) {
    return step(x);
  }
};

struct Gelu {
  // x times the distribution function, which is the tail where x < 0 and 1 - tail where x > 0.
  template <class Scalar>
  static Lanes<Scalar> value(const Lanes<Scalar>& x) {
    const NormalTail<Scalar> normal(x);
    return maximum(x, Scalar(0)) - normal.distance * normal.tail;
  }
  template <class Scalar>
  static Lanes<Scalar> derivative(const Lanes<Scalar>& x) {
    const NormalTail<Scalar> normal(x);
    return normal.tail + step(x) * (Scalar(1) - 2 * normal.tail) + held(x, normal.limit) * normal.density;
  }
};

struct GeluTanh {
  // (1 + tanh(u)) / 2 is the logistic function of 2 u.
  static constexpr double root = 2 * 0.79788456080286536;  // 2 sqrt(2 / pi)
  static constexpr double cubic = 0.044715;
  static constexpr double limit = 30;  // exp(-2 u) is 0 in double

  template <class Scalar>
  static Logistic<Scalar> gate(const Lanes<Scalar>& x) {
    return Logistic<Scalar>(Scalar(root) * x * (Scalar(1) + Scalar(cubic) * x.square()));
  }
  template <class Scalar>
  static Lanes<Scalar> value(const Lanes<Scalar>& x) {
    return maximum(x, Scalar(-limit)) * gate(x).value;
  }
  template <class Scalar>
  static Lanes<Scalar> derivative(const Lanes<Scalar>& x) {
    const Logistic<Scalar> g = gate(x);
    const Lanes<Scalar> h = held(x, Scalar(limit));
    return g.value + h * g.slope * (Scalar(root) * (Scalar(1) + Scalar(3 * cubic) * h.square()));
  }
};

struct Silu {
  static constexpr double limit = 800;  // exp(-x) is 0 in double
  template <class Scalar>
  static Lanes<Scalar> value(const Lanes<Scalar>& x) {
    return maximum(x, Scalar(-limit)) * Logistic<Scalar>(x).value;
  }
  template <class Scalar>
  static Lanes<Scalar> derivative(const Lanes<Scalar>& x) {
    const Logistic<Scalar> g(x);
    return g.value + held(x, Scalar(limit)) * g.slope;
  }
};

struct Sigmoid {
  template <class Scalar>
  static Lanes<Scalar> value(const Lanes<Scalar>& x) {
    return Logistic<Scalar>(x).value;
  }
  template <class Scalar>
  static Lanes<Scalar> derivative(const Lanes<Scalar>& x) {
    return Logistic<Scalar>(x).slope;
  }
};

struct Tanh {
  template <class Scalar>
  static Lanes<Scalar> value(const Lanes<Scalar>& x) {
    return x.tanh();
  }
  template <class Scalar>
  static Lanes<Scalar> derivative(const Lanes<Scalar>& x) {
    return 4 * Logistic<Scalar>(2 * x).slope;  // 1 - tanh(x)^2 would cancel where it is small
  }
};

template <class Function, class Scalar>
void apply(const char* where, const ConstMatrixRef<Scalar>& x, MatrixRef<Scalar>& y, Threads* threads) {
  check_shape(where, "y", shape(y), shape(x));
  for_each_row(threads, x.rows(), x.cols(), [&](Index i) {
    const Scalar* x_row = row_begin(x, i);
    Scalar* y_row = row_begin(y, i);
    for_lanes<Scalar>(x.cols(), [&](Index j, auto count) {
      store<Scalar>(y_row + j, count, Function::template value<Scalar>(load(x_row + j, count)));
    });
  });
}

template <class Function, class Scalar>
void apply_backward(const char* where, const ConstMatrixRef<Scalar>& x, const ConstMatrixRef<Scalar>& d_y,
                    MatrixRef<Scalar>& d_x, Threads* threads) {
  check_shape(where, "d_y", shape(d_y), shape(x));
  check_shape(where, "d_x", shape(d_x), shape(x));
  for_each_row(threads, x.rows(), x.cols(), [&](Index i) {
    const Scalar* x_row = row_begin(x, i);
    const Scalar* d_y_row = row_begin(d_y, i);
    Scalar* d_x_row = row_begin(d_x, i);
    for_lanes<Scalar>(x.cols(), [&](Index j, auto count) {
      const Lanes<Scalar> slope = Function::template derivative<Scalar>(load(x_row + j, count));
      store<Scalar>(d_x_row + j, count, load(d_y_row + j, count) * slope);
    });
  });
}

template <class Function, class Derived>
Matrix<typename Derived::Scalar> applied(const char* where, const Eigen::MatrixBase<Derived>& x, Threads* threads) {
  using Scalar = typename Derived::Scalar;
  Matrix<Scalar> y(x.rows(), x.cols());
  MatrixRef<Scalar> y_ref = y;
  apply<Function, Scalar>(where, x.derived(), y_ref, threads);
  return y;
}

}  // namespace detail

/// y = max(x, 0); the derivative at 0 is 0.
template <class Scalar>
void relu_forward(const ConstMatrixRef<Scalar>& x, MatrixRef<Scalar> y, Threads* threads = nullptr) {
  detail::apply<detail::Relu, Scalar>("relu", x, y, threads);
}
template <class Scalar>
void relu_backward(const ConstMatrixRef<Scalar>& x, const ConstMatrixRef<Scalar>& d_y, MatrixRef<Scalar> d_x,
                   Threads* threads = nullptr) {
  detail::apply_backward<detail::Relu, Scalar>("relu", x, d_y, d_x, threads);
}
template <class Derived>
Matrix<typename Derived::Scalar> relu(const Eigen::MatrixBase<Derived>& x, Threads* threads = nullptr) {
  return detail::applied<detail::Relu>("relu", x, threads);
}

/// y = x (1 + erf(x / sqrt(2))) / 2: the Gaussian error linear unit (Hendrycks and Gimpel 2016, equation 1).
template <class Scalar>
void gelu_forward(const ConstMatrixRef<Scalar>& x, MatrixRef<Scalar> y, Threads* threads = nullptr) {
  detail::apply<detail::Gelu, Scalar>("gelu", x, y, threads);
}
template <class Scalar>
void gelu_backward(const ConstMatrixRef<Scalar>& x, const ConstMatrixRef<Scalar>& d_y, MatrixRef<Scalar> d_x,
                   Threads* threads = nullptr) {
  detail::apply_backward<detail::Gelu, Scalar>("gelu", x, d_y, d_x, threads);
}
template <class Derived>
Matrix<typename Derived::Scalar> gelu(const Eigen::MatrixBase<Derived>& x, Threads* threads = nullptr) {
  return detail::applied<detail::Gelu>("gelu", x, threads);
}

/// y = x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2: the same paper's approximation, which GPT-2 was trained with.
template <class Scalar>
void gelu_tanh_forward(const ConstMatrixRef<Scalar>& x, MatrixRef<Scalar> y, Threads* threads = nullptr) {
  detail::apply<detail::GeluTanh, Scalar>("gelu_tanh", x, y, threads);
}
template <class Scalar>
void gelu_tanh_backward(const ConstMatrixRef<Scalar>& x, const ConstMatrixRef<Scalar>& d_y, MatrixRef<Scalar> d_x,
                        Threads* threads = nullptr) {
  detail::apply_backward<detail::GeluTanh, Scalar>("gelu_tanh", x, d_y, d_x, threads);
}
template <class Derived>
Matrix<typename Derived::Scalar> gelu_tanh(const Eigen::MatrixBase<Derived>& x, Threads* threads = nullptr) {
  return detail::applied<detail::GeluTanh>("gelu_tanh", x, threads);
}

/// y = x / (1 + exp(-x)), also called swish (Hendrycks and Gimpel 2016; Ramachandran, Zoph and Le 2017).
template <class Scalar>
void silu_forward(const ConstMatrixRef<Scalar>& x, MatrixRef<Scalar> y, Threads* threads = nullptr) {
  detail::apply<detail::Silu, Scalar>("silu", x, y, threads);
}
template <class Scalar>
void silu_backward(const ConstMatrixRef<Scalar>& x, const ConstMatrixRef<Scalar>& d_y, MatrixRef<Scalar> d_x,
                   Threads* threads = nullptr) {
  detail::apply_backward<detail::Silu, Scalar>("silu", x, d_y, d_x, threads);
}
template <class Derived>
Matrix<typename Derived::Scalar> silu(const Eigen::MatrixBase<Derived>& x, Threads* threads = nullptr) {
  return detail::applied<detail::Silu>("silu", x, threads);
}

/// y = 1 / (1 + exp(-x)).
template <class Scalar>
void sigmoid_forward(const ConstMatrixRef<Scalar>& x, MatrixRef<Scalar> y, Threads* threads = nullptr) {
  detail::apply<detail::Sigmoid, Scalar>("sigmoid", x, y, threads);
}
template <class Scalar>
void sigmoid_backward(const ConstMatrixRef<Scalar>& x, const ConstMatrixRef<Scalar>& d_y, MatrixRef<Scalar> d_x,
                      Threads* threads = nullptr) {
  detail::apply_backward<detail::Sigmoid, Scalar>("sigmoid", x, d_y, d_x, threads);
}
template <class Derived>
Matrix<typename Derived::Scalar> sigmoid(const Eigen::MatrixBase<Derived>& x, Threads* threads = nullptr) {
  return detail::applied<detail::Sigmoid>("sigmoid", x, threads);
}

/// y = tanh(x).
template <class Scalar>
void tanh_forward(const ConstMatrixRef<Scalar>& x, MatrixRef<Scalar> y, Threads* threads = nullptr) {
  detail::apply<detail::Tanh, Scalar>("tanh", x, y, threads);
}
template <class Scalar>
void tanh_backward(const ConstMatrixRef<Scalar>& x, const ConstMatrixRef<Scalar>& d_y, MatrixRef<Scalar> d_x,
                   Threads* threads = nullptr) {
  detail::apply_backward<detail::Tanh, Scalar>("tanh", x, d_y, d_x, threads);
}
template <class Derived>
Matrix<typename Derived::Scalar> tanh(const Eigen::MatrixBase<Derived>& x, Threads* threads = nullptr) {
  return detail::applied<detail::Tanh>("tanh", x, threads);
}

/// Which function stands between a feed-forward block's two linear maps.
enum class Activation { relu, gelu, gelu_tanh, silu };

constexpr auto enum_names(Activation) {
  return std::to_array<EnumName<Activation>>({{Activation::relu, "relu"},
                                              {Activation::gelu, "gelu"},
                                              {Activation::gelu_tanh, "gelu_tanh"},
                                              {Activation::silu, "silu"}});
}

template <class Scalar>
void activation_forward(Activation activation, const ConstMatrixRef<Scalar>& x, MatrixRef<Scalar> y,
                        Threads* threads = nullptr) {
  switch (activation) {
    case Activation::relu:
      return relu_forward<Scalar>(x, y, threads);
    case Activation::gelu:
      return gelu_forward<Scalar>(x, y, threads);
    case Activation::gelu_tanh:
      return gelu_tanh_forward<Scalar>(x, y, threads);
    case Activation::silu:
      return silu_forward<Scalar>(x, y, threads);
  }
}
template <class Scalar>
void activation_backward(Activation activation, const ConstMatrixRef<Scalar>& x, const ConstMatrixRef<Scalar>& d_y,
                         MatrixRef<Scalar> d_x, Threads* threads = nullptr) {
  switch (activation) {
    case Activation::relu:
      return relu_backward<Scalar>(x, d_y, d_x, threads);
    case Activation::gelu:
      return gelu_backward<Scalar>(x, d_y, d_x, threads);
    case Activation::gelu_tanh:
      return gelu_tanh_backward<Scalar>(x, d_y, d_x, threads);
    case Activation::silu:
      return silu_backward<Scalar>(x, d_y, d_x, threads);
  }
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
