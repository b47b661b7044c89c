// Applies functions to each entry of a matrix [rows x cols], such as activations.
#pragma once

#include "eigenformer/core/check.hpp"
#include "eigenformer/kernels/detail/rows/row_blocks.hpp"
#include "eigenformer/kernels/detail/rows/row_pieces.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

/// Writes y = f(x), with f(x) = Function::value(x). y may be x. Throws if shapes differ.
template <class Function, class Scalar>
void apply(const char* where, const ConstMatrixRef<Scalar>& x, MatrixRef<Scalar>& y, Threads* threads) {
  check_shape(where, "y", shape(y), shape(x));
  for_each_row(threads, x.rows(), x.cols(), [&](Index i) {
    const Scalar* x_row = row_begin(x, i);
    Scalar* y_row = row_begin(y, i);
    for_each_piece<Scalar>(x.cols(), [&](Index j, auto count) {
      store<Scalar>(y_row + j, count, Function::template value<Scalar>(load(x_row + j, count)));
    });
  });
}

/// Writes d_x = d_y f'(x): Function::gradient(x, d_y) if the function has it, else d_y * Function::derivative(x). d_x
/// may be d_y. Throws if shapes differ.
template <class Function, class Scalar>
void apply_backward(const char* where, const ConstMatrixRef<Scalar>& x, const ConstMatrixRef<Scalar>& d_y,
                    MatrixRef<Scalar>& d_x, Threads* threads) {
  check_shape(where, "d_y", shape(d_y), shape(x));
  check_shape(where, "d_x", shape(d_x), shape(x));
  for_each_row(threads, x.rows(), x.cols(), [&](Index i) {
    const Scalar* x_row = row_begin(x, i);
    const Scalar* d_y_row = row_begin(d_y, i);
    Scalar* d_x_row = row_begin(d_x, i);
    for_each_piece<Scalar>(x.cols(), [&](Index j, auto count) {
      const RowPiece<Scalar> at = load(x_row + j, count), d = load(d_y_row + j, count);
      if constexpr (requires { Function::template gradient<Scalar>(at, d); })
        store<Scalar>(d_x_row + j, count, Function::template gradient<Scalar>(at, d));
      else
        store<Scalar>(d_x_row + j, count, d * Function::template derivative<Scalar>(at));
    });
  });
}

/// Returns f(x) as a new matrix. x: any Eigen matrix or expression.
template <class Function, class Derived>
Matrix<typename Derived::Scalar> applied(const char* where, const Eigen::MatrixBase<Derived>& x, Threads* threads) {
  using Scalar = typename Derived::Scalar;
  Matrix<Scalar> y(x.rows(), x.cols());
  MatrixRef<Scalar> y_ref = y;
  apply<Function, Scalar>(where, x.derived(), y_ref, threads);
  return y;
}

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
