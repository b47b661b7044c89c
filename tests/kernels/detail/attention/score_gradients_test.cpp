#include "eigenformer/kernels/detail/attention/score_gradients.hpp"

#include <limits>

#include "kernels/kernel_checks.hpp"

namespace ef = eigenformer;
namespace detail = eigenformer::detail;
using ef::Index;
using ef::Matrix;
using namespace ef::testing;

TEST_CASE("gradients of scores are those of the weights through each query's softmax", "[kernels]") {
  ef::Rng rng(15);
  detail::ScoreMatrix<double> weights = random_matrix<double>(3, 4, rng), d = random_matrix<double>(3, 4, rng);
  detail::softmax_of_queries(weights);
  const detail::ScoreMatrix<double> d_weights = d;
  detail::differentiate_softmax(weights, d);
  for (Index i = 0; i < 3; ++i) {
    const double mean = weights.row(i).dot(d_weights.row(i));
    for (Index j = 0; j < 4; ++j) CHECK(std::abs(d(i, j) - weights(i, j) * (d_weights(i, j) - mean)) < 1e-14);
  }
}

TEST_CASE("gradients of queries and keys, which what is hidden does not reach", "[kernels]") {
  const auto infinite = GENERATE(false, true);
  CAPTURE(infinite);
  ef::Rng rng(16);
  auto q = random_matrix<double>(2, 3, rng), k = random_matrix<double>(3, 3, rng);
  detail::ScoreMatrix<double> scores = detail::ScoreMatrix<double>::Zero(2, 3);
  detail::ScoreMatrix<double> d_scores = random_matrix<double>(2, 3, rng);
  scores.col(2).setConstant(ef::hidden_score<double>);
  d_scores.col(2).setZero();
  const Matrix<double> expected_q = d_scores * k, expected_k = d_scores.transpose() * q;
  if (infinite) k.row(2).setConstant(std::numeric_limits<double>::infinity());
  const auto layout = detail::attention_layout(ef::shape(q), ef::shape(k), ef::shape(k), {});
  Matrix<double> d_q = Matrix<double>::Constant(2, 3, 9), d_k = Matrix<double>::Zero(3, 3);
  ef::MatrixRef<double> to_q = d_q, to_k = d_k;
  const detail::QueryKeyRows<double> rows{detail::head_columns(ef::strided_view(std::as_const(q)), 1),
                                          detail::head_columns(ef::strided_view(std::as_const(k)), 1),
                                          detail::head_columns(to_q, 1), detail::head_columns(to_k, 1)};
  detail::add_score_gradients(layout, detail::whole_tile(layout, 0, 0), scores, d_scores, rows);
  CHECK(max_error(d_q, expected_q) < 1e-14);
  CHECK(max_error(d_k, expected_k) < 1e-14);
}
