// Gradient checks of operations, in one line each.
#pragma once

#include <functional>
#include <vector>

#include "eigenformer/autograd/gradient_check.hpp"
#include "eigenformer/ops/arithmetic.hpp"
#include "support/catch.hpp"
#include "support/random.hpp"

namespace eigenformer::testing {

/// The sum of y's entries, each by a random weight of its own, the same at every call.
inline Variable<double> weighted_sum(const Context<double>& context, const Variable<double>& y) {
  Rng rng(99);
  return sum(context, multiply(context, y, Variable<double>(random_matrix<double>(y.rows(), y.cols(), rng))));
}

inline void check_result(const GradientCheckResult& result, double largest) {
  INFO(result.where);
  CHECK(result.entries > 0);
  CHECK(result.max_error <= largest);
}

/// Checks the gradients of op(context, inputs), of any shape.
inline void check_op(
    std::vector<Matrix<double>> inputs,
    const std::function<Variable<double>(const Context<double>&, const std::vector<Variable<double>>&)>& op,
    double largest = 1e-6) {
  check_result(gradient_check(std::move(inputs),
                              [&](const Context<double>& context, const std::vector<Variable<double>>& x) {
                                return weighted_sum(context, op(context, x));
                              }),
               largest);
}

/// The same for a layer's parameters: f(context) -> y.
template <class Layer>
void check_parameters(Layer& layer, const std::function<Variable<double>(const Context<double>&)>& f,
                      double largest = 1e-6) {
  check_result(gradient_check_parameters(
                   layer, [&](const Context<double>& context) { return weighted_sum(context, f(context)); },
                   {.max_entries = 40}),
               largest);
}

}  // namespace eigenformer::testing
