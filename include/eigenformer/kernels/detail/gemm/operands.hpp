// What products read and write: matrices by their strides, and the operands of C = start + A B.
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

/// Rows of contiguous entries, `stride` entries apart. With a stride of 0 one row stands for all.
template <class Scalar>
struct ContiguousRows {
  Scalar* data;
  Index stride;

  Scalar* row(Index i) const { return data + i * stride; }
  /// The rows from (row, col) on; null stays null.
  ContiguousRows from(Index row, Index col) const {
    return {data == nullptr ? nullptr : data + row * stride + col, stride};
  }
};

/// The operands of C = start + A B. B is strided, or packed: see PackedProduct.
template <class Scalar, class B = Strided<Scalar>>
struct Product {
  Index rows;         // of A and C
  Index cols;         // of B and C
  Index depth;        // columns of A, rows of B
  Strided<Scalar> a;  // its rows or its columns are contiguous
  B b;
  ContiguousRows<const Scalar> start;  // null: zeros; stride 0: one row for all, such as a bias; or C itself
  ContiguousRows<Scalar> c;

  /// The part of the product from row `first` on.
  Product from_row(Index first) const {
    return {rows - first, cols, depth, a.from_row(first), b, start.from(first, 0), c.from(first, 0)};
  }
  /// The part of the product with `count` columns from `first` on.
  Product columns(Index first, Index count) const {
    return {rows, count, depth, a, b.from(0, first), start.from(0, first), c.from(0, first)};
  }
};

/// A product whose B has contiguous rows of whole packets.
template <class Scalar>
using PackedProduct = Product<Scalar, ContiguousRows<const Scalar>>;

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
