// Products of matrices in tensors, with broadcasting over the other dimensions.
#pragma once

#include "eigenformer/tensors/detail/batched_product.hpp"
#include "eigenformer/tensors/detail/lines.hpp"
#include "eigenformer/tensors/reductions.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

namespace detail {

/// Returns the sizes before the last two.
inline Sizes batch_sizes(Sizes shape) {
  for (int i = 0; i < 2 && shape.rank() > 0; ++i) shape.pop_back();
  return shape;
}

/// Throws unless tensors of these shapes can be multiplied.
inline void check_product(const Sizes& a, const Sizes& b) {
  check(a.rank() > 0 && b.rank() > 0, "matmul: a is ", a, ", b is ", b, ", expected one dimension or more");
  const bool inner_fits = a[a.rank() - 1] == b[std::max<int>(0, b.rank() - 2)];
  check(inner_fits && broadcasts(batch_sizes(a), batch_sizes(b)), "matmul: a is ", a, ", b is ", b,
        ", expected [.. x m x k] and [.. x k x n], whose leading sizes are equal or 1");
}

/// Returns the products of the last two dimensions: [batch x m x k] times [batch x k x n].
template <class Scalar>
Tensor<Scalar> multiply_matrices(const TensorView<const Scalar>& a, const TensorView<const Scalar>& b,
                                 const ProductOptions& options) {
  using Compute = ComputeType<Scalar>;
  const Index m = a.dimension(-2), k = a.dimension(-1), n = b.dimension(-1);
  Sizes shape = broadcast_shapes(batch_sizes(a.shape()), batch_sizes(b.shape())), shape_a = shape, shape_b = shape;
  for (const Index size : {m, n}) shape.push_back(size);
  for (const Index size : {m, k}) shape_a.push_back(size);
  for (const Index size : {k, n}) shape_b.push_back(size);
  if constexpr (has_product<Scalar>) {
    Tensor<Scalar> y = Tensor<Scalar>::uninitialized(shape), copy;
    multiply_batch<Scalar>(with_contiguous_lines(a, copy).expand(shape_a), b.expand(shape_b), y.view(), options);
    return y;
  } else if constexpr (has_product<Compute>) {
    const Tensor<Compute> wide_a = a.template cast<Compute>(), wide_b = b.template cast<Compute>();
    return multiply_matrices<Compute>(wide_a.view(), wide_b.view(), options).template cast<Scalar>();
  } else {
    if (options.precision != Precision::float32) fail_of_precision(options.precision);
    // Integers: the sum of products, entry by entry. The products have one dimension more than the result, so a result
    // of the largest rank is computed slice by slice.
    if (shape.rank() == Sizes::max_rank) {
      Tensor<Scalar> y = Tensor<Scalar>::uninitialized(shape);
      const TensorView<const Scalar> left = a.expand(shape_a), right = b.expand(shape_b);
      for (Index i = 0; i < shape[0]; ++i)
        multiply_matrices<Scalar>(left.select(0, i), right.select(0, i), options).copy_to(y.select(0, i));
      return y;
    }
    return sum(a.unsqueeze(-1) * b.unsqueeze(-3), -2).template cast<Scalar>();
  }
}

}  // namespace detail

/// Returns the matrix product a b of the last two dimensions, [.. x m x n], as NumPy's and PyTorch's matmul. a: [.. x m
/// x k], b: [.. x k x n]; their leading dimensions broadcast. A tensor of rank 1 is a row on the left, a column on the
/// right, and the result lacks that dimension. 16-bit entries are multiplied and summed as float. options: as in
/// kernels/matmul.hpp; with Precision::bfloat16, operands are rounded to bfloat16 first. Throws if shapes do not fit,
/// if the precision is bfloat16 and the entries are doubles or integers, or as kernels/matmul.hpp. The result does not
/// depend on the number of threads.
template <TensorLike A, TensorLike B>
Tensor<ScalarOf<A>> matmul(A&& a, B&& b, const ProductOptions& options = {}) {
  using Scalar = ScalarOf<A>;
  static_assert(std::is_same_v<Scalar, ScalarOf<B>>, "tensors of different types: write cast<T>() of one of them");
  const detail::Evaluated left(a);
  const detail::Evaluated right(b);
  detail::check_product(left.view().shape(), right.view().shape());
  const bool is_row = left.view().rank() == 1, is_column = right.view().rank() == 1;
  Tensor<Scalar> y = detail::multiply_matrices<Scalar>(is_row ? left.view().unsqueeze(0) : left.view(),
                                                       is_column ? right.view().unsqueeze(1) : right.view(), options);
  if (is_column) y = std::move(y).squeeze(-1);
  if (is_row) y = std::move(y).squeeze(is_column ? -1 : -2);
  return y;
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
