// The memory layout of the heads of an operand.
#pragma once

#include "eigenformer/core/tensor.hpp"
#include "eigenformer/kernels/detail/gemm/operands.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

/// One operand of attention: its rows for each head, with any strides.
template <class Scalar>
struct HeadRows {
  Scalar* data;
  Index head_stride;
  Index row_stride;
  Index col_stride;
  Index width;  // of a head

  /// Returns the address of one head's row.
  Scalar* row(Index head, Index row) const { return data + head * head_stride + row * row_stride; }
  /// Returns one head's columns, from row `first` on.
  Strided<std::remove_const_t<Scalar>> from(Index head, Index first) const {
    return {row(head, first), row_stride, col_stride};
  }
};

/// Returns the heads of a matrix view: blocks of columns, with any strides.
template <class Scalar>
HeadRows<Scalar> head_columns(const TensorView<Scalar>& matrix, Index heads) {
  const Index width = matrix.dimension(1) / heads;
  return {matrix.data(), width * matrix.stride(1), matrix.stride(0), matrix.stride(1), width};
}

/// Returns the heads of a matrix to be written: blocks of columns.
template <class Scalar>
HeadRows<Scalar> head_columns(MatrixRef<Scalar>& matrix, Index heads) {
  const Index width = matrix.cols() / heads;
  return {matrix.data(), width, matrix.outerStride(), 1, width};
}

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
