// The gated linear unit (Dauphin et al. 2017, "Language Modeling with Gated Convolutional Networks", arXiv 1612.08083,
// equation 1): the second half of a row's features gates the first half.
#pragma once

#include "eigenformer/core/sizes.hpp"
#include "eigenformer/kernels/activations.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

namespace detail {

/// The sizes of a gated linear unit over one dimension of a tensor, seen as a matrix. Columns run over this dimension
/// and all later ones. Half of the columns are therefore half of the dimension.
struct GluShape {
  /// Throws if the dimension does not exist or its size is odd.
  GluShape(const Sizes& x, Index given) : dimension(dimension_number("glu", given, x.rank())), result(x) {
    check(x[dimension] % 2 == 0, "glu: x is ", x, ", expected an even size of dimension ", dimension);
    result[dimension] /= 2;
    for (int d = 0; d < x.rank(); ++d) (d < dimension ? rows : cols) *= x[d];
  }

  int dimension;
  Sizes result;
  Index rows = 1, cols = 1;  // of x
};

}  // namespace detail

/// Writes y = a * sigmoid(b) for x = [a b]. x: [rows x 2 * features]; y: [rows x features]; must not be x. Throws if
/// shapes do not fit.
template <class Scalar>
void glu_forward(const ConstMatrixRef<Scalar>& x, MatrixRef<Scalar> y, Threads* threads = nullptr) {
  const Index features = x.cols() / 2;
  check(x.cols() % 2 == 0, "glu: x is ", shape(x), ", expected an even number of columns");
  check_shape("glu", "y", shape(y), {x.rows(), features});
  using detail::load;
  detail::for_each_row(threads, x.rows(), x.cols(), [&](Index i) {
    const Scalar* a = detail::row_begin(x, i);
    const Scalar* b = a + features;
    Scalar* y_row = detail::row_begin(y, i);
    detail::for_each_piece<Scalar>(features, [&](Index j, auto count) {
      detail::store<Scalar>(y_row + j, count, load(a + j, count) * detail::Logistic<Scalar>(load(b + j, count)).value);
    });
  });
}

/// Writes d_x = [d_a d_b] with d_a = d_y * sigmoid(b) and d_b = d_y * a * sigmoid'(b). x, d_x: [rows x 2 * features];
/// d_y: [rows x features]. Throws if shapes do not fit.
template <class Scalar>
void glu_backward(const ConstMatrixRef<Scalar>& x, const ConstMatrixRef<Scalar>& d_y, MatrixRef<Scalar> d_x,
                  Threads* threads = nullptr) {
  const Index features = x.cols() / 2;
  check(x.cols() % 2 == 0, "glu: x is ", shape(x), ", expected an even number of columns");
  check_shape("glu", "d_y", shape(d_y), {x.rows(), features});
  check_shape("glu", "d_x", shape(d_x), shape(x));
  using detail::load;
  detail::for_each_row(threads, x.rows(), x.cols(), [&](Index i) {
    const Scalar* a = detail::row_begin(x, i);
    const Scalar* b = a + features;
    const Scalar* d_y_row = detail::row_begin(d_y, i);
    Scalar* d_a = detail::row_begin(d_x, i);
    Scalar* d_b = d_a + features;
    detail::for_each_piece<Scalar>(features, [&](Index j, auto count) {
      const detail::Logistic<Scalar> gate(load(b + j, count));
      const detail::RowPiece<Scalar> d = load(d_y_row + j, count), d_gate = d * load(a + j, count);
      detail::store<Scalar>(d_a + j, count, d * gate.value);
      detail::store<Scalar>(d_b + j, count, d_gate * gate.slope);
    });
  });
}

/// Returns the gated linear unit of each row: [rows x features]. x: [rows x 2 * features], any Eigen matrix or
/// expression.
template <class Derived>
Matrix<typename Derived::Scalar> glu(const Eigen::MatrixBase<Derived>& x, Threads* threads = nullptr) {
  using Scalar = typename Derived::Scalar;
  Matrix<Scalar> y(x.rows(), x.cols() / 2);
  glu_forward<Scalar>(x.derived(), y, threads);
  return y;
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
