#include "eigenformer/ops/recurrent.hpp"

#include "support/ops.hpp"

namespace ef = eigenformer;
using ef::testing::random_matrix;
using Inputs = std::vector<ef::Variable<double>>;

TEST_CASE("gradients of every recurrent cell, both ways, over a ragged batch", "[ops]") {
  const std::uint64_t seed = 621;
  CAPTURE(seed);
  ef::Rng rng(seed);
  const ef::Index hidden = 3;
  for (const ef::RecurrentCell cell : ef::values_of<ef::RecurrentCell>())
    for (const bool reverse : {false, true}) {
      CAPTURE(ef::to_string(cell), reverse);
      const ef::RecurrenceOptions options{cell, {0, 4, 4, 6, 11}, reverse};
      const ef::Index gates = ef::gate_count(cell) * hidden, state = ef::state_count(cell) * hidden;
      const auto x = random_matrix<double>(11, gates, rng), weight = random_matrix<double>(gates, hidden, rng),
                 bias = random_matrix<double>(1, gates, rng), initial = random_matrix<double>(4, state, rng);
      ef::testing::check_op({x, weight, bias, initial}, [&](const ef::Context<double>& c, const Inputs& in) {
        return ef::recurrent(c, {in[0], in[1], in[2], in[3]}, options);
      });
      ef::testing::check_op({x, weight, initial}, [&](const ef::Context<double>& c, const Inputs& in) {
        return ef::final_state(c, ef::recurrent(c, {in[0], in[1], {}, in[2]}, options), in[2], options);
      });
      ef::testing::check_op({x, weight}, [&](const ef::Context<double>& c, const Inputs& in) {
        return ef::recurrent(c, {in[0], in[1], {}, {}}, options);
      });
    }
}

TEST_CASE("the final state is the last row's, or what a sequence without rows began with", "[ops]") {
  const ef::Matrix<double> state = Eigen::VectorXd::LinSpaced(5, 1, 5), initial = Eigen::VectorXd::LinSpaced(3, 10, 12);
  const ef::RecurrenceOptions forward{.rows = {0, 2, 2, 5}}, backward{.rows = {0, 2, 2, 5}, .reverse = true};
  CHECK(ef::final_state<double>({}, state, initial, forward).value() == Eigen::Vector3d(2, 11, 5));
  CHECK(ef::final_state<double>({}, state, initial, backward).value() == Eigen::Vector3d(1, 11, 3));
  CHECK(ef::final_state<double>({}, state, {}, forward).value() == Eigen::Vector3d(2, 0, 5));
}
