// The operands of matrix products: strided matrices, contiguous rows, and C = start + A B.
#pragma once

#include "eigenformer/core/types.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

/// A read-only matrix. Entry (i, j) is data[i * row_stride + j * col_stride].
template <class Scalar>
struct Strided {
  const Scalar* data;
  Index row_stride;
  Index col_stride;

  const Scalar& operator()(Index i, Index j) const { return data[i * row_stride + j * col_stride]; }
  /// Returns the submatrix from (row, col) on.
  Strided from(Index row, Index col) const {
    return {data + row * row_stride + col * col_stride, row_stride, col_stride};
  }
  Strided from_row(Index row) const { return from(row, 0); }
};

/// Returns the transpose of a strided matrix, without a copy.
template <class Scalar>
Strided<Scalar> transposed(const Strided<Scalar>& m) {
  return {m.data, m.col_stride, m.row_stride};
}

/// Rows of contiguous entries, `stride` entries apart. A stride of 0 repeats one row.
template <class Scalar>
struct ContiguousRows {
  Scalar* data;
  Index stride;

  Scalar* row(Index i) const { return data + i * stride; }
  /// Returns the rows from (row, col) on. Null stays null.
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
  Strided<Scalar> a;  // contiguous along rows or along columns
  B b;
  ContiguousRows<const Scalar> start;  // null: zeros; stride 0: one row for all, such as a bias; may be C
  ContiguousRows<Scalar> c;

  /// Returns the part of the product from row `first` on.
  Product from_row(Index first) const {
    return {rows - first, cols, depth, a.from_row(first), b, start.from(first, 0), c.from(first, 0)};
  }
  /// Returns the part of the product with `count` columns from `first` on.
  Product columns(Index first, Index count) const {
    return {rows, count, depth, a, b.from(0, first), start.from(0, first), c.from(0, first)};
  }
};

/// A product whose B has contiguous rows of whole packets.
template <class Scalar>
using PackedProduct = Product<Scalar, ContiguousRows<const Scalar>>;

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
