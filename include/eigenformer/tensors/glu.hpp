// The gated linear unit of tensors over any dimension, with its derivative. It runs the kernel of kernels/glu.hpp.
//
//   Tensor<float> y = glu(x);                     // [batch x tokens x 2 * width] -> [batch x tokens x width]
//   Tensor<float> z = glu(x, 1);                  // [batch x 2 * channels x time] -> [batch x channels x time]
//   Tensor<float> d_x = glu_backward(x, d_z, 1);
//
// Contiguous tensors are read in place. 16-bit entries are computed as float. Results do not depend on the number of
// threads.
#pragma once

#include "eigenformer/kernels/glu.hpp"
#include "eigenformer/tensors/detail/row_views.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

namespace detail {

/// Returns the shape of a tensor as a matrix. The columns are `dimension` and the dimensions after it.
inline RowShape rows_before(const char* where, const Sizes& shape, int dimension) {
  Sizes columns;
  for (int d = dimension; d < shape.rank(); ++d) columns.push_back(d);
  return RowShape(where, shape, Dimensions(columns));
}

}  // namespace detail

/// Returns the gated linear unit a * sigmoid(b), where a and b are the halves of x along a dimension. The result has
/// half of x's size along it. x: a tensor, a view or an expression. Throws if the dimension does not exist or its size
/// is odd.
template <TensorLike X>
Tensor<ScalarOf<X>> glu(const X& x, Index dimension = -1, Threads* threads = nullptr) {
  using Compute = ComputeType<ScalarOf<X>>;
  const detail::GluShape halves(detail::shape_of(x), dimension);
  const detail::RowShape shape = detail::rows_before("glu", halves.result, halves.dimension);
  const detail::RowOperand<const X&> rows(x, detail::rows_before("glu", detail::shape_of(x), halves.dimension));
  Tensor<Compute> y = Tensor<Compute>::uninitialized(halves.result);
  glu_forward<Compute>(rows.matrix(), detail::matrix_of(y, shape), threads);
  return detail::from_rows<ScalarOf<X>>(std::move(y), shape);
}

/// Returns the gradient of glu: d_y * sigmoid(b) and d_y * a * sigmoid'(b), joined along the dimension. x, dimension:
/// the arguments of glu; d_y: the shape of its result. Throws if shapes do not fit.
template <TensorLike X, TensorLike D>
Tensor<ScalarOf<X>> glu_backward(const X& x, const D& d_y, Index dimension = -1, Threads* threads = nullptr) {
  using Compute = ComputeType<ScalarOf<X>>;
  static_assert(std::is_same_v<ScalarOf<X>, ScalarOf<D>>, "tensors of different types: write cast<T>() of one of them");
  const detail::GluShape halves(detail::shape_of(x), dimension);
  detail::check_same_shape("glu_backward", "d_y", detail::shape_of(d_y), halves.result);
  const detail::RowShape shape = detail::rows_before("glu_backward", detail::shape_of(x), halves.dimension);
  const detail::RowOperand<const X&> x_rows(x, shape);
  const detail::RowOperand<const D&> d_rows(d_y, detail::rows_before("glu_backward", halves.result, halves.dimension));
  Tensor<Compute> d_x = Tensor<Compute>::uninitialized(detail::shape_of(x));
  glu_backward<Compute>(x_rows.matrix(), d_rows.matrix(), detail::matrix_of(d_x, shape), threads);
  return detail::from_rows<ScalarOf<X>>(std::move(d_x), shape);
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
