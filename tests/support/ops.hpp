// Gradient checks of operations, in one line each.
#pragma once

#include <vector>

#include "eigenformer/autograd/gradient_check.hpp"
#include "eigenformer/ops/arithmetic.hpp"
#include "support/catch.hpp"
#include "support/random.hpp"

namespace eigenformer::testing {

/// Checks the gradients of op(context, inputs), of any shape, by way of a fixed random weighting of its entries.
template <class Op>
void check_op(std::vector<Matrix<double>> inputs, Op&& op, double largest = 1e-6) {
  const GradientCheckResult result =
      gradient_check(std::move(inputs), [&](const Context<double>& context, const std::vector<Variable<double>>& x) {
        const Variable<double> y = op(context, x);
        Rng rng(99);
        return sum(context, multiply(context, y, Variable<double>(random_matrix<double>(y.rows(), y.cols(), rng))));
      });
  INFO(result.where);
  CHECK(result.entries > 0);
  CHECK(result.largest_error <= largest);
}

/// The same for a layer's parameters: f(context) -> y.
template <class Layer, class F>
void check_parameters(Layer& layer, F&& f, double largest = 1e-6) {
  const GradientCheckResult result = gradient_check_parameters(
      layer,
      [&](const Context<double>& context) {
        const Variable<double> y = f(context);
        Rng rng(99);
        return sum(context, multiply(context, y, Variable<double>(random_matrix<double>(y.rows(), y.cols(), rng))));
      },
      {.most_entries = 40});
  INFO(result.where);
  CHECK(result.entries > 0);
  CHECK(result.largest_error <= largest);
}

}  // namespace eigenformer::testing
