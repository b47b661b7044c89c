// Matrices by their strides: what the products beneath the kernels read and write.
#pragma once

#include "eigenformer/core/types.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

/// A matrix that is read: entry (i, j) is data[i * row_stride + j * col_stride].
template <class Scalar>
struct Strided {
  const Scalar* data;
  Index row_stride;
  Index col_stride;

  const Scalar& operator()(Index i, Index j) const { return data[i * row_stride + j * col_stride]; }
  Strided from(Index row, Index col) const {
    return {data + row * row_stride + col * col_stride, row_stride, col_stride};
  }
  Strided from_row(Index row) const { return from(row, 0); }
};

/// The transpose of a strided matrix.
template <class Scalar>
Strided<Scalar> transposed(const Strided<Scalar>& m) {
  return {m.data, m.col_stride, m.row_stride};
}

/// Rows of contiguous entries, one every `stride` entries. With a stride of 0 one row stands for all; null data stand
/// for zeros, where that is said.
template <class Scalar>
struct ContiguousRows {
  Scalar* data;
  Index stride;

  Scalar* row(Index i) const { return data + i * stride; }
  ContiguousRows from(Index row, Index col) const {
    return {data == nullptr ? nullptr : data + row * stride + col, stride};
  }
};

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
