// Strided read access to an argument that may be any Eigen matrix or expression.
#pragma once

#include <type_traits>

#include "eigenformer/core/tensor.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// Gives a strided view of any Eigen argument. A matrix, map, block or transpose of any storage order is viewed in
/// place; an expression is evaluated once. The argument must outlive it.
template <class Derived>
class Readable {
  using Scalar = typename Derived::Scalar;

 public:
  explicit Readable(const Eigen::MatrixBase<Derived>& argument) : value_(argument.derived()) {}
  TensorView<const Scalar> view() const { return strided_view(value_); }

 private:
  std::conditional_t<has_memory<Derived>, const Derived&, const Matrix<Scalar>> value_;
};

}  // namespace eigenformer::inline EIGENFORMER_ABI
