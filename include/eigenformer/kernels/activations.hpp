// Activation functions, applied entry by entry. Each has three functions:
//
//   NAME_forward<Scalar>(x, y)          writes y = f(x)
//   NAME_backward<Scalar>(x, d_y, d_x)  writes d_x = d_y f'(x)
//   NAME(x)                             returns f(x) as a new matrix; x is any Eigen matrix or expression
//
// All matrices are [rows x cols]. y may be x, and d_x may be d_y. At -inf and inf the values are the limits; only a NaN
// gives a NaN. Throws if shapes differ.
#pragma once

#include "eigenformer/core/named_enum.hpp"
#include "eigenformer/kernels/detail/rows/activation_functions.hpp"
#include "eigenformer/kernels/detail/rows/entrywise.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// ReLU: y = max(x, 0). The derivative at 0 is 0.
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

/// The Gaussian error linear unit: y = x (1 + erf(x / sqrt(2))) / 2 (Hendrycks and Gimpel 2016, equation 1).
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

/// The tanh approximation of GELU (Hendrycks and Gimpel 2016), which GPT-2 was trained with:
/// y = x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2.
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

/// SiLU, also called swish: y = x / (1 + exp(-x)) (Hendrycks and Gimpel 2016; Ramachandran, Zoph and Le 2017).
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

/// The logistic function: y = 1 / (1 + exp(-x)).
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

/// The hyperbolic tangent: y = tanh(x).
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

/// The activation between the two linear maps of a feed-forward block.
enum class Activation { relu, gelu, gelu_tanh, silu };

constexpr auto enum_names(Activation) {
  return std::to_array<EnumName<Activation>>({{Activation::relu, "relu"},
                                              {Activation::gelu, "gelu"},
                                              {Activation::gelu_tanh, "gelu_tanh"},
                                              {Activation::silu, "silu"}});
}

/// Writes y = f(x) for the activation f. x, y: [rows x cols]; y may be x. Throws if shapes differ.
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
/// Writes d_x = d_y f'(x) for the activation f. x, d_y, d_x: [rows x cols]; d_x may be d_y. Throws if shapes differ.
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
