// Dropout of tensors. It runs the kernel of kernels/dropout.hpp on the rows of the last dimension.
#pragma once

#include "eigenformer/kernels/dropout.hpp"
#include "eigenformer/tensors/detail/row_views.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// Returns x with each entry dropped with probability `rate`, and the others divided by 1 - rate. A dropped inf or NaN
/// gives NaN. Throws unless 0 <= rate < 1.
///
/// What is dropped depends only on the key, the entry's place in the order of indices, and the size of the last
/// dimension: not on strides or threads. So this function is its own backward: with the same rate and key, it maps d_y
/// to d_x. x: a tensor, a view or an expression; 16-bit entries are computed as float.
template <TensorLike X>
Tensor<ScalarOf<X>> dropout(X&& x, double rate, RandomKey key, Threads* threads = nullptr) {
  using Compute = ComputeType<ScalarOf<X>>;
  const Sizes sizes = detail::shape_of(x);
  const detail::RowShape shape("dropout", sizes, sizes.rank() == 0 ? Dimensions(Sizes()) : Dimensions(-1));
  return detail::map_rows(std::forward<X>(x), shape, [&](const auto& from, const auto& to) {
    dropout_forward<Compute>(from, rate, key, to, threads);
  });
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
