#include "eigenformer/kernels/detail/recurrence/backward.hpp"

#include "support/approx.hpp"
#include "support/catch.hpp"
#include "support/random.hpp"

namespace ef = eigenformer;
namespace detail = eigenformer::detail;
using ef::Index;
using ef::Matrix;
using ef::testing::random_matrix;

TEST_CASE("the gradients of a plain cell's steps, from the last to the first", "[kernels]") {
  ef::Rng rng(33);
  const auto weight = random_matrix<double>(2, 2, rng), initial = random_matrix<double>(1, 2, rng),
             d_state = random_matrix<double>(2, 2, rng);
  const Matrix<double> state = random_matrix<double>(2, 2, rng).array().tanh();
  const Matrix<double> no_bias, saved(2, 0);
  const ef::RowOffsets rows{0, 2};
  const std::vector<Index> order{0};
  const ef::Recurrence<double> layer{ef::RecurrentCell::rnn, weight, no_bias, initial, rows};
  const detail::RecurrentTransposes<double> transposes{ef::PackedWeight<double>(Matrix<double>(weight.transpose())),
                                                       {}};
  Matrix<double> d_gates(2, 2), d_initial(1, 2);
  ef::MatrixRef<double> to_gates = d_gates, to_initial = d_initial;
  detail::RecurrentGroupGradients<double> to{to_gates, to_initial, Matrix<double>(2, 2), {}, {}};
  detail::recur_backward<double, detail::RnnCell<false>>(layer, transposes, detail::RecurrentGroup(rows, order, false),
                                                         {state, saved}, d_state, to);

  const Matrix<double> slope = 1 - state.array().square();
  const Matrix<double> second = d_state.row(1).cwiseProduct(slope.row(1));
  const Matrix<double> first = (d_state.row(0) + second * weight).cwiseProduct(slope.row(0));
  CHECK(ef::testing::max_error(d_gates.row(1), second) < 1e-14);
  CHECK(ef::testing::max_error(d_gates.row(0), first) < 1e-14);
  CHECK(ef::testing::max_error(d_initial, first * weight) < 1e-13);
  CHECK(to.hidden_before.row(0) == initial.row(0));
  CHECK(to.hidden_before.row(1) == state.row(0));
}
