// Softmax and log-softmax of each row.
#pragma once

#include <cmath>

#include "eigenformer/core/check.hpp"
#include "eigenformer/kernels/detail/rows/row_blocks.hpp"
#include "eigenformer/kernels/detail/rows/row_pieces.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

namespace detail {

/// Returns the value to subtract from a row before exp: its largest entry, or 0 if that is -inf.
template <class Scalar>
Scalar softmax_origin(const Scalar* x, Index cols) {
  const Scalar largest = row_max(x, cols);
  return is_minus_infinity(largest) ? Scalar(0) : largest;
}

/// Returns sum_j exp(x_j - origin); 0 if all entries are -inf.
template <class Scalar>
Sum<Scalar> sum_of_exp(const Scalar* x, Index cols, Scalar origin) {
  return row_sum<Scalar>(cols, [&](Index j, auto count) {
    return exp_or_zero<Scalar>(load(x + j, count, -std::numeric_limits<Scalar>::infinity()) - origin);
  });
}

/// Writes the softmax of one row. y may be x. See softmax_forward.
template <class Scalar>
void softmax_row(const Scalar* x, Scalar* y, Index cols) {
  const Scalar origin = softmax_origin(x, cols);
  const auto sum = row_sum<Scalar>(cols, [&](Index j, auto count) {
    const auto x_piece = load(x + j, count, -std::numeric_limits<Scalar>::infinity());
    const auto e = exp_or_zero<Scalar>(x_piece - origin);
    store(y + j, count, e);
    return e;
  });
  const auto scale = static_cast<Scalar>(sum == 0 ? 0 : 1 / sum);
  for_each_piece<Scalar>(cols, [&](Index j, auto count) { store<Scalar>(y + j, count, load(y + j, count) * scale); });
}
/// Writes the gradient of the softmax of one row. d_x may be d_y. See softmax_backward.
template <class Scalar>
void softmax_row_backward(const Scalar* y, const Scalar* d_y, Scalar* d_x, Index cols) {
  const auto mean = static_cast<Scalar>(row_sum<Scalar>(
      cols, [&](Index j, auto count) -> RowPiece<Scalar> { return load(y + j, count) * load(d_y + j, count); }));
  for_each_piece<Scalar>(cols, [&](Index j, auto count) {
    store<Scalar>(d_x + j, count, load(y + j, count) * (load(d_y + j, count) - mean));
  });
}

}  // namespace detail

/// Writes the softmax of each row: y_j = exp(x_j) / sum_k exp(x_k). The largest x_k is subtracted first, so that
/// nothing overflows. x, y: [rows x cols]; y may be x. Throws if shapes differ.
///
/// A row of -inf gives zeros: a query that sees no key attends to nothing. (PyTorch gives NaN.)
template <class Scalar>
void softmax_forward(const ConstMatrixRef<Scalar>& x, MatrixRef<Scalar> y, Threads* threads = nullptr) {
  check_shape("softmax", "y", shape(y), shape(x));
  const Index cols = x.cols();
  detail::for_each_row(threads, x.rows(), cols, [&](Index i) {
    detail::softmax_row<Scalar>(detail::row_begin(x, i), detail::row_begin(y, i), cols);
  });
}

/// Writes the gradient of softmax_forward: d_x_j = y_j (d_y_j - sum_k d_y_k y_k). y: what the forward wrote. y, d_y,
/// d_x: [rows x cols]; d_x may be d_y. Throws if shapes differ.
template <class Scalar>
void softmax_backward(const ConstMatrixRef<Scalar>& y, const ConstMatrixRef<Scalar>& d_y, MatrixRef<Scalar> d_x,
                      Threads* threads = nullptr) {
  check_shape("softmax", "d_y", shape(d_y), shape(y));
  check_shape("softmax", "d_x", shape(d_x), shape(y));
  const Index cols = y.cols();
  detail::for_each_row(threads, y.rows(), cols, [&](Index i) {
    detail::softmax_row_backward<Scalar>(detail::row_begin(y, i), detail::row_begin(d_y, i), detail::row_begin(d_x, i),
                                         cols);
  });
}

/// Writes the log-softmax of each row: y_j = x_j - log sum_k exp(x_k). x, y: [rows x cols]; y may be x. Throws if
/// shapes differ.
///
/// A row of -inf gives -inf, the logarithm of softmax's zeros, and a gradient of 0.
template <class Scalar>
void log_softmax_forward(const ConstMatrixRef<Scalar>& x, MatrixRef<Scalar> y, Threads* threads = nullptr) {
  check_shape("log_softmax", "y", shape(y), shape(x));
  const Index cols = x.cols();
  detail::for_each_row(threads, x.rows(), cols, [&](Index i) {
    const Scalar* x_row = detail::row_begin(x, i);
    Scalar* y_row = detail::row_begin(y, i);
    const Scalar origin = detail::softmax_origin(x_row, cols);
    const auto sum = detail::sum_of_exp(x_row, cols, origin);
    const auto log_sum = static_cast<Scalar>(sum == 0 ? 0 : std::log(sum));
    detail::for_each_piece<Scalar>(cols, [&](Index j, auto count) {
      detail::store<Scalar>(y_row + j, count, detail::load(x_row + j, count) - origin - log_sum);
    });
  });
}

/// Writes the gradient of log_softmax_forward: d_x_j = d_y_j - exp(y_j) sum_k d_y_k, and 0 for rows of -inf. y: what
/// the forward wrote. y, d_y, d_x: [rows x cols]; d_x may be d_y. Throws if shapes differ.
template <class Scalar>
void log_softmax_backward(const ConstMatrixRef<Scalar>& y, const ConstMatrixRef<Scalar>& d_y, MatrixRef<Scalar> d_x,
                          Threads* threads = nullptr) {
  check_shape("log_softmax", "d_y", shape(d_y), shape(y));
  check_shape("log_softmax", "d_x", shape(d_x), shape(y));
  const Index cols = y.cols();
  detail::for_each_row(threads, y.rows(), cols, [&](Index i) {
    const Scalar* y_row = detail::row_begin(y, i);
    const Scalar* d_y_row = detail::row_begin(d_y, i);
    Scalar* d_x_row = detail::row_begin(d_x, i);
    if (cols > 0 && detail::is_minus_infinity(y_row[0]) && detail::is_minus_infinity(detail::row_max(y_row, cols))) {
      std::fill(d_x_row, d_x_row + cols, Scalar(0));
      return;
    }
    const auto sum = static_cast<Scalar>(
        detail::row_sum<Scalar>(cols, [&](Index j, auto count) { return detail::load(d_y_row + j, count); }));
    detail::for_each_piece<Scalar>(cols, [&](Index j, auto count) {
      const auto p = detail::exp_or_zero<Scalar>(detail::load(y_row + j, count));
      detail::store<Scalar>(d_x_row + j, count, detail::load(d_y_row + j, count) - p * sum);
    });
  });
}

/// Returns the softmax of each row: [rows x cols]. x: [rows x cols], any Eigen matrix or expression.
template <class Derived>
Matrix<typename Derived::Scalar> softmax(const Eigen::MatrixBase<Derived>& x, Threads* threads = nullptr) {
  Matrix<typename Derived::Scalar> y(x.rows(), x.cols());
  softmax_forward<typename Derived::Scalar>(x.derived(), y, threads);
  return y;
}

/// Returns the log-softmax of each row: [rows x cols]. x: [rows x cols], any Eigen matrix or expression.
template <class Derived>
Matrix<typename Derived::Scalar> log_softmax(const Eigen::MatrixBase<Derived>& x, Threads* threads = nullptr) {
  Matrix<typename Derived::Scalar> y(x.rows(), x.cols());
  log_softmax_forward<typename Derived::Scalar>(x.derived(), y, threads);
  return y;
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
