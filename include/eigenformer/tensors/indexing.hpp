// Entries chosen by indices, and triangles of matrices.
#pragma once

#include "eigenformer/tensors/detail/lines.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

namespace detail {

/// Throws unless the indices have x's rank and, in every other dimension, no size larger than x's.
inline void check_indices(const char* where, const Sizes& x, const Sizes& indices, int dimension) {
  bool fit = indices.rank() == x.rank();
  for (int d = 0; fit && d < x.rank(); ++d) fit = d == dimension || indices[d] <= x[d];
  check(fit, where, ": the tensor is ", x, ", indices are ", indices,
        ", expected as many dimensions, and no larger sizes except in dimension ", dimension);
}

/// For each entry of `indices`, calls body(offset in x of the entry that it names, offset in the other tensor of the
/// entry at the same place as the index).
template <class Index_, class Body>
void for_each_index(const char* where, const Sizes& x_shape, const std::array<Sizes, 2>& strides_of_x_and_other,
                    const TensorView<const Index_>& indices, int dimension, Body body) {
  const Index n = x_shape[dimension];
  const Index x_stride = strides_of_x_and_other[0][dimension], other_stride = strides_of_x_and_other[1][dimension];
  for_each_line<3>(indices.shape(), {indices.strides(), strides_of_x_and_other[0], strides_of_x_and_other[1]},
                   dimension, [&](const auto& offsets) {
                     for (Index i = 0; i < indices.shape()[dimension]; ++i) {
                       const auto given = indices.data()[offsets[0] + i * indices.strides()[dimension]];
                       const Index place = place_of(where, given, n);
                       body(offsets[1] + place * x_stride, offsets[2] + i * other_stride);
                     }
                   });
}

}  // namespace detail

/// Picks entries along a dimension, as PyTorch's gather: y(i, j) = x(indices(i, j), j) for dimension 0. indices: the
/// rank of x, and no larger than x along the other dimensions. y: the shape of indices. Throws if shapes do not fit or
/// an index is out of range.
template <TensorLike X, TensorLike Indices>
Tensor<ScalarOf<X>> gather(X&& x, Index dimension, Indices&& indices) {
  static_assert(detail::is_index<ScalarOf<Indices>>, "gather: indices are integers, not a mask of bool");
  const detail::Evaluated values(x);
  const detail::Evaluated places(indices);
  const TensorView<const ScalarOf<X>>& from = values.view();
  const int d = dimension_number("gather", dimension, from.rank());
  detail::check_indices("gather", from.shape(), places.view().shape(), d);
  auto result = Tensor<ScalarOf<X>>::uninitialized(places.view().shape());
  detail::for_each_index("gather", from.shape(), {from.strides(), result.strides()}, places.view(), d,
                         [&](Index source, Index target) { result.data()[target] = from.data()[source]; });
  return result;
}

/// Adds each entry of `source` to an entry of x: x(indices(i, j), j) += source(i, j) for dimension 0, as PyTorch's
/// scatter_add_. `indices` and `source` have the same shape, and may share memory with x. Entries are added in order,
/// so the result is always the same. Throws if shapes do not fit, or if an index is out of range; then x may have been
/// changed in part.
template <class Scalar, TensorLike Indices, TensorLike Source>
void scatter_add(const TensorView<Scalar>& x, Index dimension, Indices&& indices, Source&& source) {
  static_assert(detail::is_index<ScalarOf<Indices>>, "scatter_add: indices are integers, not a mask of bool");
  static_assert(std::is_same_v<ScalarOf<Source>, Scalar>, "scatter_add: both tensors have one type");
  const detail::Evaluated places(indices);
  const detail::Evaluated values(source);
  const int d = dimension_number("scatter_add", dimension, x.rank());
  detail::check_indices("scatter_add", x.shape(), places.view().shape(), d);
  check(values.view().shape() == places.view().shape(), "scatter_add: source is ", values.view().shape(),
        ", indices are ", places.view().shape());
  detail::check_writable(x);
  if (detail::may_share_memory(places.view(), x) || detail::may_share_memory(values.view(), x))
    return scatter_add(x, d, places.view().contiguous(), values.view().contiguous());
  detail::for_each_index("scatter_add", x.shape(), {x.strides(), values.view().strides()}, places.view(), d,
                         [&](Index target, Index from) { x.data()[target] += values.view().data()[from]; });
}

/// Returns the slices of x at some indices along a dimension, as NumPy's take and PyTorch's index_select. With
/// dimension 0 of a table [n x width] it is an embedding. indices: of rank 1. Throws if an index is out of range.
template <TensorLike X, TensorLike Indices>
Tensor<ScalarOf<X>> index_select(X&& x, Index dimension, Indices&& indices) {
  static_assert(detail::is_index<ScalarOf<Indices>>, "index_select: indices are integers, not a mask of bool");
  const detail::Evaluated values(x);
  const detail::Evaluated places(indices);
  const int d = dimension_number("index_select", dimension, values.view().rank());
  check(places.view().rank() == 1, "index_select: indices are ", places.view().shape(), ", expected rank 1");
  Sizes shape = values.view().shape();
  shape[d] = places.view().size();
  auto result = Tensor<ScalarOf<X>>::uninitialized(shape);
  for (Index i = 0; i < shape[d]; ++i) {
    const Index place = detail::place_of("index_select", places.view()(i), values.view().shape()[d]);
    values.view().select(d, place).copy_to(result.select(d, i));
  }
  return result;
}

namespace detail {

template <class X, class Keeps>
Tensor<ScalarOf<X>> triangle(const char* where, X&& x, Keeps keeps) {
  const Evaluated values(x);
  Tensor<ScalarOf<X>> result(values.view());
  check(result.rank() >= 2, where, ": a tensor ", result.shape(), ", expected matrices");
  const Index rows = result.dimension(-2), cols = result.dimension(-1);
  for (Index k = 0; k < result.size(); ++k)
    if (!keeps(k / cols % rows, k % cols)) result.data()[k] = ScalarOf<X>(0);
  return result;
}

}  // namespace detail

/// Returns the matrices of the last two dimensions with zeros above a diagonal: 0 is the main one, 1 the next above it.
/// Throws if the rank is below 2.
template <TensorLike X>
Tensor<ScalarOf<X>> tril(X&& x, Index diagonal = 0) {
  return detail::triangle("tril", x, [&](Index row, Index col) { return col - row <= diagonal; });
}
/// Returns the matrices of the last two dimensions with zeros below a diagonal. Throws if the rank is below 2.
template <TensorLike X>
Tensor<ScalarOf<X>> triu(X&& x, Index diagonal = 0) {
  return detail::triangle("triu", x, [&](Index row, Index col) { return col - row >= diagonal; });
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
