// Checks gradients against finite differences, for the library's layers and operations and for your own.
#pragma once

#include <algorithm>
#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "eigenformer/autograd/context.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

struct GradientCheckOptions {
  double step = 1e-5;       // of the difference, relative to max(1, |x|)
  Index max_entries = 200;  // entries checked per matrix, spread evenly; 0 checks all
};

/// The result of a gradient check.
struct GradientCheckResult {
  double max_error = 0;  // the largest |analytic - numeric| / max(1, |numeric|)
  std::string where;     // the entry with the largest error, and both its values
  Index entries = 0;     // the number of entries compared
};

namespace detail {

/// Throws for options with which the check would compare nothing, or only NaN.
inline void check_options(const char* where, const GradientCheckOptions& options) {
  check(options.step > 0 && std::isfinite(options.step), where, ": step is ", options.step,
        ", expected a finite number above 0");
  check(options.max_entries >= 0, where, ": max_entries is ", options.max_entries,
        ", expected 0 or more; 0 checks all");
}

/// Compares the gradient `analytic` with central differences of loss(), which must read `value`. Restores `value`.
inline void compare_gradient(const std::string& name, const Matrix<double>& analytic, Matrix<double>& value,
                             const std::function<double()>& loss, const GradientCheckOptions& options,
                             GradientCheckResult& result) {
  const Index size = value.size();
  const Index count = options.max_entries == 0 ? size : std::min<Index>(size, options.max_entries);
  for (Index n = 0; n < count; ++n) {
    const Index i = n * size / count;
    double& x = value.data()[i];
    const double x0 = x;
    const double step = options.step * std::max<double>(1.0, std::abs(x0));
    x = x0 + step;
    const double above = loss();
    x = x0 - step;
    const double below = loss();
    x = x0;
    const double numeric = (above - below) / (2 * step);
    const double error = std::abs(analytic.data()[i] - numeric) / std::max<double>(1.0, std::abs(numeric));
    ++result.entries;
    // A NaN counts as the largest error. No later error replaces it.
    if (result.where.empty() || (!(error <= result.max_error) && !std::isnan(result.max_error))) {
      result.max_error = error;
      result.where = name + " (" + std::to_string(i / value.cols()) + ", " + std::to_string(i % value.cols()) +
                     "): analytic " + std::to_string(analytic.data()[i]) + ", numeric " + std::to_string(numeric);
    }
  }
}

}  // namespace detail

/// Checks the gradient of loss(context, inputs), a Variable [1 x 1], with respect to every input. The loss must be
/// deterministic. Throws if the step is not a finite number above 0 or max_entries is negative.
inline GradientCheckResult gradient_check(
    std::vector<Matrix<double>> inputs,
    const std::function<Variable<double>(const Context<double>&, const std::vector<Variable<double>>&)>& loss,
    const GradientCheckOptions& options = {}) {
  detail::check_options("gradient_check", options);
  Tape<double> tape;
  std::vector<Variable<double>> variables;
  variables.reserve(inputs.size());
  for (const Matrix<double>& input : inputs) variables.push_back(tape.variable(input));
  tape.backward(loss(Context<double>{.tape = &tape}, variables));
  const auto value = [&] {
    return loss(Context<double>{}, std::vector<Variable<double>>(inputs.begin(), inputs.end())).scalar();
  };
  GradientCheckResult result;
  for (std::size_t i = 0; i < inputs.size(); ++i)
    detail::compare_gradient("input " + std::to_string(i), tape.gradient(variables[i]), inputs[i], value, options,
                             result);
  return result;
}

/// Checks the gradient of loss(context), a Variable [1 x 1], with respect to every parameter of `model`. The loss must
/// be deterministic and read `model`, whose parameters are perturbed and restored. Throws as gradient_check does.
template <class Model>
GradientCheckResult gradient_check_parameters(Model& model,
                                              const std::function<Variable<double>(const Context<double>&)>& loss,
                                              const GradientCheckOptions& options = {}) {
  detail::check_options("gradient_check_parameters", options);
  Tape<double> tape;
  tape.backward(loss(Context<double>{.tape = &tape}));
  GradientCheckResult result;
  for_each_parameter(model, [&](const std::string& name, Parameter<double>& parameter) {
    detail::compare_gradient(
        name, tape.gradient(parameter), parameter.value, [&] { return loss(Context<double>{}).scalar(); }, options,
        result);
  });
  return result;
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
