// Products of many pairs of matrices with any strides.
#pragma once

#include <vector>

#include "eigenformer/kernels/detail/gemm/bfloat16_product.hpp"
#include "eigenformer/tensors/detail/runs.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

/// Whether entries of this type are multiplied by the library's own products.
template <class Scalar>
inline constexpr bool has_product = std::is_same_v<Scalar, float> || std::is_same_v<Scalar, double>;

/// Writes c = a b for each pair of matrices. a: [batch x m x k], b: [batch x k x n], c: [batch x m x n]; `batch` may be
/// several dimensions. Strides: a has contiguous rows or columns, b any strides, c contiguous rows.
template <class Scalar>
void multiply_batch(const TensorView<const Scalar>& a, const TensorView<const Scalar>& b, const TensorView<Scalar>& c,
                    const ProductOptions& options) {
  const int batch = c.rank() - 2;
  Product<Scalar> product{.rows = c.dimension(-2),
                          .cols = c.dimension(-1),
                          .depth = a.dimension(-1),
                          .a = {a.data(), a.stride(-2), a.stride(-1)},
                          .b = {b.data(), b.stride(-2), b.stride(-1)},
                          .start = {},
                          .c = {c.data(), c.stride(-2)}};
  if (product.rows == 0 || product.cols == 0) return;
  const auto leading = [&](const Sizes& sizes) {
    return Sizes(std::span<const Index>(sizes.begin(), sizes.end() - 2));
  };
  std::vector<std::array<Index, 3>> places;
  const Sizes batch_shape = leading(c.shape());
  for_each_run(StridedLoop<3>(batch_shape, {leading(c.strides()), leading(a.strides()), leading(b.strides())}),
               [&](const auto& run) {
                 for (Index i = 0; i < run.size; ++i) places.push_back(run.part(i, 1).offsets);
               });
  // Many products: one task each. Few products: each is split among the threads.
  const bool are_many = batch > 0 && places.size() >= 8;
  parallel_for(are_many ? options.threads : nullptr, static_cast<Index>(places.size()), 1, [&](Index i, Index) {
    const std::array<Index, 3>& place = places[static_cast<std::size_t>(i)];
    Product<Scalar> own = product;
    own.c.data += place[0];
    if (own.depth > 0) {
      own.a.data += place[1];
      own.b.data += place[2];
    }
    multiply<Scalar>(own, ProductOptions(are_many ? nullptr : options.threads, options.precision));
  });
}

/// Returns x, or a contiguous copy in `copy` if neither the rows nor the columns of its matrices are contiguous.
template <class Scalar>
TensorView<const Scalar> with_contiguous_lines(const TensorView<const Scalar>& x, Tensor<Scalar>& copy) {
  if (x.stride(-1) == 1 || x.stride(-2) == 1 || x.size() == 0) return x;
  copy = Tensor<Scalar>(x);
  return copy.view();
}

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
