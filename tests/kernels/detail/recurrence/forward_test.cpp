#include "eigenformer/kernels/detail/recurrence/forward.hpp"

#include "support/approx.hpp"
#include "support/catch.hpp"
#include "support/random.hpp"

namespace ef = eigenformer;
namespace detail = eigenformer::detail;
using ef::Index;
using ef::Matrix;
using ef::testing::random_matrix;

TEST_CASE("the products with U are those of the whole matrix, in one part or two", "[kernels]") {
  ef::Rng rng(31);
  const Index hidden = 5;
  const auto h = random_matrix<double>(3, hidden, rng), weight = random_matrix<double>(3 * hidden, hidden, rng),
             bias = random_matrix<double>(1, 3 * hidden, rng);
  const Matrix<double> none;
  const Matrix<double> expected = (h * weight.transpose()).rowwise() + bias.row(0);

  const ef::Recurrence<double> layer{ef::RecurrentCell::gru, weight, bias, none};
  const detail::RecurrentProducts<double, detail::GruCell<false>> whole(layer);
  Matrix<double> products(3, 3 * hidden);
  whole.of_state(h, products);
  CHECK(ef::testing::max_error(products, expected) < 1e-13);

  const ef::Recurrence<double> reset_first{ef::RecurrentCell::gru_reset_first, weight, bias, none};
  const detail::RecurrentProducts<double, detail::GruCell<true>> parts(reset_first);
  products.setConstant(9);
  parts.of_state(h, products);
  CHECK((products.rightCols(hidden).array() == 9).all());
  parts.of_reset(h, products);
  CHECK(ef::testing::max_error(products, expected) < 1e-13);
}

TEST_CASE("a group of one sequence goes from its initial state", "[kernels]") {
  ef::Rng rng(32);
  const auto weight = random_matrix<double>(2, 2, rng), initial = random_matrix<double>(1, 2, rng),
             gates = random_matrix<double>(2, 2, rng);
  const Matrix<double> no_bias;
  const ef::RowOffsets rows{0, 2};
  const ef::Recurrence<double> layer{ef::RecurrentCell::rnn, weight, no_bias, initial, rows};
  Matrix<double> state(2, 2), none;
  ef::MatrixRef<double> to = state, unkept = none;
  const std::vector<Index> order{0};
  using Cell = detail::RnnCell<false>;
  std::vector<double> scratch(static_cast<std::size_t>(detail::recurrent_scratch<Cell>(2, 2, 2)));
  const ef::ConstMatrixRef<double> from = gates;
  detail::recur<double, Cell>(layer, detail::RecurrentProducts<double, Cell>(layer),
                              detail::RecurrentGroup(rows, order, false), {from, to, unkept, scratch.data()});
  const Matrix<double> first = (gates.row(0) + initial * weight.transpose()).array().tanh();
  const Matrix<double> second = (gates.row(1) + first * weight.transpose()).array().tanh();
  CHECK(ef::testing::max_error(state.row(0), first) < 1e-13);
  CHECK(ef::testing::max_error(state.row(1), second) < 1e-13);
}
