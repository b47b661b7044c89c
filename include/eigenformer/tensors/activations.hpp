// Activation functions of tensors, entry by entry, with their derivatives. They run the kernels of
// kernels/activations.hpp: entries equal those of the functions on matrices, to the last bit. Each activation has a
// function and a backward:
//
//   Tensor<float> y = gelu(x);                 // x: a tensor, a view or an expression
//   Tensor<float> d_x = gelu_backward(x, d_y); // d_y f'(x)
//
// relu(x), sigmoid(x) and tanh(x) are expressions (tensors/arithmetic.hpp). Eigen computes them, and their last bits
// may differ. relu(x, threads), sigmoid(x, threads) and tanh(x, threads) run the kernels.
//
// Contiguous tensors are read in place. 16-bit entries are computed as float. Throws if shapes differ.
#pragma once

#include "eigenformer/kernels/activations.hpp"
#include "eigenformer/tensors/detail/row_views.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

namespace detail {

/// Calls body(begin, rows, cols) for all entries of contiguous memory, as a matrix and a rest of one row. Kernels
/// divide rows among threads.
template <class Body>
void for_each_block(Index size, Body body) {
  constexpr Index cols = 1024;
  const Index rows = size / cols, rest = size % cols;
  if (rows > 0) body(Index{0}, rows, cols);
  if (rest > 0) body(rows * cols, Index{1}, rest);
}

/// Returns the tensor that kernel(x, y) writes, block by block.
template <class X, class Kernel>
Tensor<ScalarOf<X>> map_entries(X&& x, Kernel kernel) {
  using Compute = ComputeType<ScalarOf<X>>;
  const RowShape shape("map_entries", shape_of(x), all_dimensions(shape_of(x)));
  return map_rows(std::forward<X>(x), shape, [&](const auto& from, auto to) {
    for_each_block(shape.cols, [&](Index begin, Index rows, Index cols) {
      kernel(ConstMatrixMap<Compute>(from.data() + begin, rows, cols),
             MatrixMap<Compute>(to.data() + begin, rows, cols));
    });
  });
}

/// Returns the gradient that kernel(x, d_y, d_x) writes, block by block.
template <class X, class D, class Kernel>
Tensor<ScalarOf<D>> map_entries_backward(const char* where, const X& x, D&& d_y, Kernel kernel) {
  using Compute = ComputeType<ScalarOf<D>>;
  static_assert(std::is_same_v<ScalarOf<X>, ScalarOf<D>>, "tensors of different types: write cast<T>() of one of them");
  check_same_shape(where, "d_y", shape_of(d_y), shape_of(x));
  const RowShape shape(where, shape_of(x), all_dimensions(shape_of(x)));
  const RowOperand<const X&> saved(x, shape);
  const RowsMap<Compute> x_row = saved.matrix();
  return map_rows(std::forward<D>(d_y), shape, [&](const auto& from, auto to) {
    for_each_block(shape.cols, [&](Index begin, Index rows, Index cols) {
      kernel(ConstMatrixMap<Compute>(x_row.data() + begin, rows, cols),
             ConstMatrixMap<Compute>(from.data() + begin, rows, cols),
             MatrixMap<Compute>(to.data() + begin, rows, cols));
    });
  });
}

}  // namespace detail

/// ReLU, max(x, 0). The derivative at 0 is 0.
template <TensorLike X>
Tensor<ScalarOf<X>> relu(X&& x, Threads* threads) {
  using Compute = ComputeType<ScalarOf<X>>;
  return detail::map_entries(std::forward<X>(x),
                             [&](const auto& from, auto to) { relu_forward<Compute>(from, to, threads); });
}
template <TensorLike X, TensorLike D>
Tensor<ScalarOf<D>> relu_backward(const X& x, D&& d_y, Threads* threads = nullptr) {
  using Compute = ComputeType<ScalarOf<D>>;
  return detail::map_entries_backward(
      "relu_backward", x, std::forward<D>(d_y),
      [&](const auto& from, const auto& d, auto to) { relu_backward<Compute>(from, d, to, threads); });
}

/// The Gaussian error linear unit, x (1 + erf(x / sqrt(2))) / 2.
template <TensorLike X>
Tensor<ScalarOf<X>> gelu(X&& x, Threads* threads = nullptr) {
  using Compute = ComputeType<ScalarOf<X>>;
  return detail::map_entries(std::forward<X>(x),
                             [&](const auto& from, auto to) { gelu_forward<Compute>(from, to, threads); });
}
template <TensorLike X, TensorLike D>
Tensor<ScalarOf<D>> gelu_backward(const X& x, D&& d_y, Threads* threads = nullptr) {
  using Compute = ComputeType<ScalarOf<D>>;
  return detail::map_entries_backward(
      "gelu_backward", x, std::forward<D>(d_y),
      [&](const auto& from, const auto& d, auto to) { gelu_backward<Compute>(from, d, to, threads); });
}

/// The tanh approximation of GELU, x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2.
template <TensorLike X>
Tensor<ScalarOf<X>> gelu_tanh(X&& x, Threads* threads = nullptr) {
  using Compute = ComputeType<ScalarOf<X>>;
  return detail::map_entries(std::forward<X>(x),
                             [&](const auto& from, auto to) { gelu_tanh_forward<Compute>(from, to, threads); });
}
template <TensorLike X, TensorLike D>
Tensor<ScalarOf<D>> gelu_tanh_backward(const X& x, D&& d_y, Threads* threads = nullptr) {
  using Compute = ComputeType<ScalarOf<D>>;
  return detail::map_entries_backward(
      "gelu_tanh_backward", x, std::forward<D>(d_y),
      [&](const auto& from, const auto& d, auto to) { gelu_tanh_backward<Compute>(from, d, to, threads); });
}

/// SiLU, also called swish, x / (1 + exp(-x)).
template <TensorLike X>
Tensor<ScalarOf<X>> silu(X&& x, Threads* threads = nullptr) {
  using Compute = ComputeType<ScalarOf<X>>;
  return detail::map_entries(std::forward<X>(x),
                             [&](const auto& from, auto to) { silu_forward<Compute>(from, to, threads); });
}
template <TensorLike X, TensorLike D>
Tensor<ScalarOf<D>> silu_backward(const X& x, D&& d_y, Threads* threads = nullptr) {
  using Compute = ComputeType<ScalarOf<D>>;
  return detail::map_entries_backward(
      "silu_backward", x, std::forward<D>(d_y),
      [&](const auto& from, const auto& d, auto to) { silu_backward<Compute>(from, d, to, threads); });
}

/// The logistic function, 1 / (1 + exp(-x)).
template <TensorLike X>
Tensor<ScalarOf<X>> sigmoid(X&& x, Threads* threads) {
  using Compute = ComputeType<ScalarOf<X>>;
  return detail::map_entries(std::forward<X>(x),
                             [&](const auto& from, auto to) { sigmoid_forward<Compute>(from, to, threads); });
}
template <TensorLike X, TensorLike D>
Tensor<ScalarOf<D>> sigmoid_backward(const X& x, D&& d_y, Threads* threads = nullptr) {
  using Compute = ComputeType<ScalarOf<D>>;
  return detail::map_entries_backward(
      "sigmoid_backward", x, std::forward<D>(d_y),
      [&](const auto& from, const auto& d, auto to) { sigmoid_backward<Compute>(from, d, to, threads); });
}

/// The hyperbolic tangent.
template <TensorLike X>
Tensor<ScalarOf<X>> tanh(X&& x, Threads* threads) {
  using Compute = ComputeType<ScalarOf<X>>;
  return detail::map_entries(std::forward<X>(x),
                             [&](const auto& from, auto to) { tanh_forward<Compute>(from, to, threads); });
}
template <TensorLike X, TensorLike D>
Tensor<ScalarOf<D>> tanh_backward(const X& x, D&& d_y, Threads* threads = nullptr) {
  using Compute = ComputeType<ScalarOf<D>>;
  return detail::map_entries_backward(
      "tanh_backward", x, std::forward<D>(d_y),
      [&](const auto& from, const auto& d, auto to) { tanh_backward<Compute>(from, d, to, threads); });
}

/// Returns f(x) for the activation f.
template <TensorLike X>
Tensor<ScalarOf<X>> activation_forward(Activation activation, X&& x, Threads* threads = nullptr) {
  using Compute = ComputeType<ScalarOf<X>>;
  return detail::map_entries(std::forward<X>(x), [&](const auto& from, auto to) {
    activation_forward<Compute>(activation, from, to, threads);
  });
}
/// Returns d_y f'(x) for the activation f. x, d_y: of the same shape.
template <TensorLike X, TensorLike D>
Tensor<ScalarOf<D>> activation_backward(Activation activation, const X& x, D&& d_y, Threads* threads = nullptr) {
  using Compute = ComputeType<ScalarOf<D>>;
  return detail::map_entries_backward("activation_backward", x, std::forward<D>(d_y),
                                      [&](const auto& from, const auto& d, auto to) {
                                        activation_backward<Compute>(activation, from, d, to, threads);
                                      });
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
