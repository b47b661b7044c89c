// One-line gradient checks of operations and layers.
#pragma once

#include <algorithm>
#include <functional>
#include <vector>

#include "eigenformer/autograd/gradient_check.hpp"
#include "eigenformer/ops/arithmetic.hpp"
#include "support/catch.hpp"
#include "support/random.hpp"
#include "support/sanitizers.hpp"

namespace eigenformer::testing {

/// Returns how many entries of a matrix a gradient check compares. Under a sanitizer, which takes fifty times as long,
/// a few are enough: every entry uses memory in the same way.
inline constexpr Index checked_entries(Index most) {
  return UNDER_SANITIZER ? std::min<Index>(most, 4) : most;
}

/// Returns a sum of the entries of y with random weights, which are the same in every call.
inline Variable<double> weighted_sum(const Context<double>& context, const Variable<double>& y) {
  Rng rng(99);
  return sum(context, multiply(context, y, Variable<double>(random_matrix<double>(y.rows(), y.cols(), rng))));
}

inline void check_result(const GradientCheckResult& result, double largest) {
  INFO(result.where);
  CHECK(result.entries > 0);
  CHECK(result.max_error <= largest);
}

/// Checks the gradients of op(context, inputs), whose result may have any shape, against differences.
inline void check_op(
    std::vector<Matrix<double>> inputs,
    const std::function<Variable<double>(const Context<double>&, const std::vector<Variable<double>>&)>& op,
    double largest = 1e-6) {
  check_result(gradient_check(std::move(inputs),
                              [&](const Context<double>& context, const std::vector<Variable<double>>& x) {
                                return weighted_sum(context, op(context, x));
                              },
                              {.max_entries = checked_entries(200)}),
               largest);
}

/// Checks the gradients of the parameters of a layer against differences. f: (context) -> y, of any shape.
template <class Layer>
void check_parameters(Layer& layer, const std::function<Variable<double>(const Context<double>&)>& f,
                      double largest = 1e-6) {
  check_result(gradient_check_parameters(
                   layer, [&](const Context<double>& context) { return weighted_sum(context, f(context)); },
                   {.max_entries = checked_entries(40)}),
               largest);
}

}  // namespace eigenformer::testing
