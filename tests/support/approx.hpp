// Compares matrices with tolerances in units of the machine epsilon.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>

#include "eigenformer/core/types.hpp"

namespace eigenformer::testing {

/// Returns the largest |a - b| / max(1, |b|), or infinity if the sizes differ or an entry is NaN.
template <class A, class B>
double max_error(const Eigen::MatrixBase<A>& a, const Eigen::MatrixBase<B>& b) {
  if (a.rows() != b.rows() || a.cols() != b.cols()) return std::numeric_limits<double>::infinity();
  const Eigen::MatrixXd x = a.template cast<double>();
  const Eigen::MatrixXd y = b.template cast<double>();
  double largest = 0;
  for (Index i = 0; i < x.rows(); ++i)
    for (Index j = 0; j < x.cols(); ++j) {
      if (x(i, j) == y(i, j)) continue;  // includes equal infinities
      const double error = std::abs(x(i, j) - y(i, j)) / std::max(1.0, std::abs(y(i, j)));
      if (!(error >= 0)) return std::numeric_limits<double>::infinity();
      largest = std::max(largest, error);
    }
  return largest;
}

inline double relative_error(double a, double b) {
  return a == b ? 0 : std::abs(a - b) / std::abs(b);
}

/// Returns `units` rounding errors of this Scalar: a tolerance for results of about that many operations.
template <class Scalar>
double rounding(double units) {
  return units * static_cast<double>(std::numeric_limits<Scalar>::epsilon());
}

}  // namespace eigenformer::testing
