// Gradient checks of operations on tensors of any rank.
#pragma once

#include <functional>
#include <vector>

#include "eigenformer/ops/tensor_views.hpp"
#include "support/ops.hpp"

namespace eigenformer::testing {

/// Checks the gradients of op(context, inputs) for inputs of these shapes against differences.
inline void check_tensor_op(
    const std::vector<Sizes>& shapes, Rng& rng,
    const std::function<Variable<double>(const Context<double>&, const std::vector<Variable<double>>&)>& op) {
  std::vector<Matrix<double>> inputs;
  for (const Sizes& shape : shapes) inputs.push_back(random_matrix<double>(1, count_of(shape), rng));
  check_op(inputs, [&](const Context<double>& context, const std::vector<Variable<double>>& x) {
    std::vector<Variable<double>> tensors;
    for (std::size_t i = 0; i < x.size(); ++i) tensors.push_back(reshape(context, x[i], shapes[i]));
    const Variable<double> y = op(context, tensors);
    return reshape(context, y, Sizes{1, y.size()});
  });
}

/// Returns a constant tensor of random numbers.
inline Variable<double> random_tensor(const Sizes& shape, Rng& rng) {
  return Variable<double>(random_matrix<double>(1, count_of(shape), rng)).reshaped(shape);
}

}  // namespace eigenformer::testing
