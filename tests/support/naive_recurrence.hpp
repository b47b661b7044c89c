// The reference for tests of recurrent layers: the equations of the papers, entry by entry.
#pragma once

#include <cmath>
#include <vector>

#include "eigenformer/kernels/recurrence.hpp"

namespace eigenformer::testing {

/// Returns the states of one sequence, [rows x state].
/// gates: [rows x gates * hidden], W x with its bias; weight: of the recurrent product; bias: its bias, or empty;
/// initial: [1 x state], or empty for zeros.
inline Matrix<double> naive_recurrence(RecurrentCell cell, const Matrix<double>& gates, const Matrix<double>& weight,
                                       const Matrix<double>& bias, const Matrix<double>& initial, bool reverse) {
  const Index hidden = weight.cols(), steps = gates.rows();
  const bool long_short = cell == RecurrentCell::lstm;
  std::vector<double> h(static_cast<std::size_t>(hidden)), c = h;
  for (Index j = 0; j < hidden; ++j) {
    h[static_cast<std::size_t>(j)] = initial.size() > 0 ? initial(0, j) : 0;
    if (long_short) c[static_cast<std::size_t>(j)] = initial.size() > 0 ? initial(0, hidden + j) : 0;
  }
  const auto logistic = [](double x) { return 1 / (1 + std::exp(-x)); };
  Matrix<double> states(steps, long_short ? 2 * hidden : hidden);
  for (Index t = 0; t < steps; ++t) {
    const Index row = reverse ? steps - 1 - t : t;
    const auto product = [&](Index k, const std::vector<double>& of) {
      double sum = bias.size() > 0 ? bias(0, k) : 0;
      for (Index j = 0; j < hidden; ++j) sum += weight(k, j) * of[static_cast<std::size_t>(j)];
      return sum;
    };
    const std::vector<double> before = h;
    std::vector<double> reset = h;
    if (cell == RecurrentCell::gru_reset_first)
      for (Index j = 0; j < hidden; ++j)
        reset[static_cast<std::size_t>(j)] *= logistic(gates(row, j) + product(j, before));
    for (Index j = 0; j < hidden; ++j) {
      const auto gate = [&](Index g) { return gates(row, g * hidden + j); };
      const auto u = [&](Index g) { return product(g * hidden + j, before); };
      double& y = h[static_cast<std::size_t>(j)];
      if (cell == RecurrentCell::rnn) y = std::tanh(gate(0) + u(0));
      if (cell == RecurrentCell::rnn_relu) y = std::max(0.0, gate(0) + u(0));
      if (cell == RecurrentCell::gru || cell == RecurrentCell::gru_reset_first) {
        const double z = logistic(gate(1) + u(1));
        const double n = cell == RecurrentCell::gru ? std::tanh(gate(2) + logistic(gate(0) + u(0)) * u(2))
                                                    : std::tanh(gate(2) + product(2 * hidden + j, reset));
        y = (1 - z) * n + z * before[static_cast<std::size_t>(j)];
      }
      if (long_short) {
        double& cell_state = c[static_cast<std::size_t>(j)];
        cell_state = logistic(gate(1) + u(1)) * cell_state + logistic(gate(0) + u(0)) * std::tanh(gate(2) + u(2));
        y = logistic(gate(3) + u(3)) * std::tanh(cell_state);
        states(row, hidden + j) = cell_state;
      }
    }
    for (Index j = 0; j < hidden; ++j) states(row, j) = h[static_cast<std::size_t>(j)];
  }
  return states;
}

}  // namespace eigenformer::testing
