// Shared by the tests of functions on tensors that run kernels: they compare with the functions on matrices, and with
// differences.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <limits>
#include <span>

#include "eigenformer/tensors/comparison.hpp"
#include "eigenformer/tensors/creation.hpp"
#include "kernels/kernel_checks.hpp"

namespace eigenformer::testing {

/// Returns a tensor of normal entries.
template <class Scalar>
Tensor<Scalar> random_tensor(const Sizes& shape, std::uint64_t seed) {
  Rng rng(seed);
  return randn<Scalar>(shape, rng);
}

/// A contiguous tensor as a matrix of its last dimension's rows.
template <class Scalar>
Matrix<Scalar> rows_of(const Tensor<Scalar>& x) {
  return x.view().reshape({x.size() / x.dimension(-1), x.dimension(-1)}).matrix();
}
/// Whether a tensor's rows are those of a matrix, bit by bit.
template <class Scalar>
bool same(const Tensor<Scalar>& x, const Matrix<Scalar>& rows) {
  return identical<Scalar>(rows_of(x), rows);
}
/// Returns the largest difference of two tensors' entries: see max_error.
template <class A, class B>
double error_of(const Tensor<A>& a, const Tensor<B>& b) {
  if (a.shape() != b.shape()) return std::numeric_limits<double>::infinity();
  return max_error(a.template cast<double>().flatten().unsqueeze(0).matrix(),
                   b.template cast<double>().flatten().unsqueeze(0).matrix());
}

/// Returns the derivative of f with respect to a tensor, by central differences.
inline Tensor<double> numeric(const Tensor<double>& x, const std::function<double(const Tensor<double>&)>& f) {
  Tensor<double> gradient(x.shape());
  const Matrix<double> row = x.flatten().unsqueeze(0).matrix();
  const Matrix<double> d = numeric_gradient(row, [&](const Matrix<double>& moved) {
    return f(Tensor<double>(x.shape(), std::span<const double>(moved.data(), static_cast<std::size_t>(moved.size()))));
  });
  std::copy(d.data(), d.data() + d.size(), gradient.data());
  return gradient;
}
/// Returns the sum of a * b: a loss whose gradient with respect to a is b.
inline double inner(const Tensor<double>& a, const Tensor<double>& b) {
  return sum(a * b).item();
}

}  // namespace eigenformer::testing
