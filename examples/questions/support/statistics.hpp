// Summary statistics.
#pragma once

#include <algorithm>
#include <cmath>
#include <numeric>
#include <span>
#include <vector>

#include "eigenformer/core/check.hpp"

namespace questions {

/// Returns the mean, or NaN if there are no values.
inline double mean(std::span<const double> values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

/// Returns the mean of the last `count` values, or of all if there are fewer.
inline double mean_of_last(std::span<const double> values, std::size_t count) {
  return mean(values.last(std::min(count, values.size())));
}

/// Returns the middle value, or the mean of the two middle values. Throws if there are no values.
inline double median(std::vector<double> values) {
  eigenformer::check(!values.empty(), "median: there are no values");
  std::sort(values.begin(), values.end());
  return (values[(values.size() - 1) / 2] + values[values.size() / 2]) / 2;
}

/// Returns the exponent e of the power law y = c x^e: the slope of log y over log x by least squares. Throws if there
/// are fewer than two different x, or if a value is not above 0.
inline double fitted_exponent(std::span<const double> x, std::span<const double> y) {
  eigenformer::check(x.size() == y.size(), "fitted_exponent: ", x.size(), " x and ", y.size(),
                     " y, expected equal numbers");
  std::vector<double> log_x, log_y;
  for (std::size_t i = 0; i < x.size(); ++i) {
    eigenformer::check(x[i] > 0 && y[i] > 0, "fitted_exponent: point ", i, " is ", x[i], ", ", y[i],
                       ", expected above 0");
    log_x.push_back(std::log(x[i]));
    log_y.push_back(std::log(y[i]));
  }
  double square = 0, product = 0;
  for (std::size_t i = 0; i < log_x.size(); ++i) {
    square += (log_x[i] - mean(log_x)) * (log_x[i] - mean(log_x));
    product += (log_x[i] - mean(log_x)) * (log_y[i] - mean(log_y));
  }
  eigenformer::check(square > 0, "fitted_exponent: expected two different x");
  return product / square;
}

}  // namespace questions
