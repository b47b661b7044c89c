// Gradient clipping by global norm, and checks for gradients that are not finite.
#pragma once

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "eigenformer/autograd/gradients.hpp"
#include "eigenformer/core/detail/fast_math.hpp"
#include "eigenformer/core/threads.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

namespace detail {

/// Calls function(name, gradient) for each parameter of the model that has a gradient.
template <class Scalar, class Model, class Function>
void for_each_gradient(const Model& model, const Gradients<Scalar>& gradients, Function function) {
  for_each_parameter(model, [&](const std::string& name, const Parameter<Scalar>& parameter) {
    const Matrix<Scalar>* gradient = gradients.find(parameter);
    if (gradient != nullptr) function(name, *gradient);
  });
}

/// Returns whether no entry is infinite or NaN.
template <class Derived>
bool is_finite(const Eigen::ArrayBase<Derived>& x) {
  return x.unaryExpr([](typename Derived::Scalar entry) { return is_finite(entry); }).all();
}

/// Calls body(row) for each row of a gradient, in parallel. Tasks have about 32,768 entries.
template <class Scalar, class Body>
void for_each_gradient_row(const Matrix<Scalar>& gradient, Threads* threads, Body body) {
  const Index grain = std::max<Index>(1, 32768 / std::max<Index>(1, gradient.cols()));
  parallel_for(threads, gradient.rows(), grain, [&](Index begin, Index end) {
    for (Index row = begin; row < end; ++row) body(row);
  });
}

/// Returns the sum of the squares of all gradients of the model. Sums each row in Scalar and the rows in double, in the
/// order of the parameters.
template <class Scalar, class Model>
double sum_of_squares(const Model& model, const Gradients<Scalar>& gradients, Threads* threads) {
  double sum = 0;
  std::vector<Scalar> of_rows;
  for_each_gradient<Scalar>(model, gradients, [&](const std::string&, const Matrix<Scalar>& gradient) {
    of_rows.resize(static_cast<std::size_t>(gradient.rows()));
    for_each_gradient_row(gradient, threads,
                          [&](Index row) { of_rows[static_cast<std::size_t>(row)] = gradient.row(row).squaredNorm(); });
    for (const Scalar of_row : of_rows) sum += static_cast<double>(of_row);
  });
  return sum;
}

}  // namespace detail

/// Throws unless all gradients of the model are finite. The message names the parameter and the update. If batch_name
/// is not empty, it also names the batch.
template <class Scalar, class Model>
void check_finite(const Model& model, const Gradients<Scalar>& gradients, Index update,
                  const std::function<std::string()>& batch_name = {}) {
  detail::for_each_gradient(model, gradients, [&](const std::string& name, const Matrix<Scalar>& gradient) {
    if (!detail::is_finite(gradient.array()))
      fail("train: the gradient of ", name, " in update ", update, " is not finite",
           batch_name ? "; batch: " + batch_name() : std::string());
  });
}

/// Returns the Euclidean norm of the concatenation of all gradients of the model. Sums each row in Scalar and the rows
/// in double, in the order of the parameters. Throws if a gradient is not finite.
template <class Scalar, class Model>
double global_norm(const Model& model, const Gradients<Scalar>& gradients, Threads* threads = nullptr) {
  double sum = detail::sum_of_squares(model, gradients, threads);
  using Limits = std::numeric_limits<Scalar>;
  constexpr double precise = static_cast<double>((Limits::min)() / Limits::epsilon()) / Limits::epsilon();
  if (detail::is_finite(sum) && sum >= precise) return std::sqrt(sum);
  // Either a gradient is not finite, which throws below, or a square overflowed, or all are tiny and squares may have
  // underflowed. Dividing by the largest entry before squaring avoids both.
  double max_norm = 0;
  detail::for_each_gradient(model, gradients, [&](const std::string& name, const Matrix<Scalar>& gradient) {
    check(detail::is_finite(gradient.array()), "global_norm: the gradient of ", name, " is not finite");
    max_norm = std::max<double>(max_norm, static_cast<double>(gradient.cwiseAbs().maxCoeff()));
  });
  if (max_norm == 0) return 0;
  sum = 0;
  detail::for_each_gradient(model, gradients, [&](const std::string&, const Matrix<Scalar>& gradient) {
    sum += (gradient.template cast<double>() / max_norm).squaredNorm();
  });
  return max_norm * std::sqrt(sum);
}

/// Returns the factor that scales a gradient of norm `norm` to at most `max_norm` (Pascanu et al. 2013, algorithm 1).
/// A `max_norm` of 0 means no limit: returns 1. Throws if `norm` is not finite, or `max_norm` is negative or NaN.
inline double clip_factor(double norm, double max_norm) {
  check(max_norm >= 0, "clip_factor: max_norm is ", max_norm, ", expected 0 or more");
  check(detail::is_finite(norm), "clip_factor: the norm is ", norm, ", expected a finite number");
  return max_norm > 0 && norm > max_norm ? max_norm / norm : 1;
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
