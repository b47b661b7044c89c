// An argument that may be any Eigen matrix or expression, read through its strides.
#pragma once

#include <type_traits>

#include "eigenformer/core/tensor.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// A matrix, map, block or transpose is viewed as it lies in memory, whatever its storage order; an expression is
/// evaluated once. Lives no longer than its argument.
template <class Derived>
class Readable {
  using Scalar = typename Derived::Scalar;

 public:
  explicit Readable(const Eigen::MatrixBase<Derived>& argument) : value_(argument.derived()) {}
  TensorView<const Scalar, 2> view() const { return strided_view(value_); }

 private:
  std::conditional_t<has_memory<Derived>, const Derived&, const Matrix<Scalar>> value_;
};

}  // namespace eigenformer::inline EIGENFORMER_ABI
