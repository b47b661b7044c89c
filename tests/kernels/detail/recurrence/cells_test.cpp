#include "eigenformer/kernels/detail/recurrence/cells.hpp"

#include <array>
#include <cmath>

#include "support/catch.hpp"

namespace detail = eigenformer::detail;
using eigenformer::Index;

namespace {

double logistic(double x) {
  return 1 / (1 + std::exp(-x));
}

/// One step of a cell of one hidden unit.
template <class Cell>
struct OneUnit {
  static constexpr std::size_t gate_columns = Cell::gates, state_columns = Cell::states, kept_columns = Cell::saved;

  std::array<double, gate_columns> gates{}, products{};
  std::array<double, state_columns> previous{}, state{};
  std::array<double, kept_columns + 1> saved{};

  void forward() {
    const detail::RecurrentStep<double> step{1,           gates.data(), products.data(), previous.data(), state.data(),
                                             saved.data()};
    detail::for_each_piece<double>(1, [&](Index j, auto count) { Cell::forward(step, j, count); });
  }
};

}  // namespace

TEST_CASE("one step of the plain cells", "[kernels]") {
  OneUnit<detail::RnnCell<false>> rnn;
  rnn.gates = {0.5};
  rnn.products = {-1.25};
  rnn.forward();
  CHECK(rnn.state[0] == Approx(std::tanh(-0.75)));
  OneUnit<detail::RnnCell<true>> relu;
  relu.gates = {0.5};
  relu.products = {-1.25};
  relu.forward();
  CHECK(relu.state[0] == 0);
}

TEST_CASE("one step of the gated cells", "[kernels]") {
  OneUnit<detail::GruCell<false>> gru;
  gru.gates = {0.5, -0.25, 1};
  gru.products = {0.25, 0.5, -2};
  gru.previous = {0.75};
  gru.forward();
  const double n = std::tanh(1 + logistic(0.75) * -2), z = logistic(0.25);
  CHECK(gru.state[0] == Approx((1 - z) * n + z * 0.75));

  OneUnit<detail::LstmCell> lstm;
  lstm.gates = {0.5, -0.25, 1, 2};
  lstm.products = {0.25, 0.5, -2, -1};
  lstm.previous = {0.1, 0.75};
  lstm.forward();
  const double c = logistic(0.25) * 0.75 + logistic(0.75) * std::tanh(-1.0);
  CHECK(lstm.state[1] == Approx(c));
  CHECK(lstm.state[0] == Approx(logistic(1) * std::tanh(c)));
}
