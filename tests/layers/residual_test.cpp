#include "eigenformer/layers/residual.hpp"

#include "support/catch.hpp"

namespace ef = eigenformer;

TEST_CASE("the norm stands first or last", "[layers]") {
  const ef::LayerNorm<double> norm(4);
  const ef::Variable<double> x = Eigen::MatrixXd::Random(3, 4);
  const ef::Context<double> none{};
  const auto twice = [&](const ef::Variable<double>& y) { return ef::scale(none, y, 2); };
  const ef::Matrix<double> post = norm(none, ef::Variable<double>(3 * x.value())).value();
  CHECK(ef::ResidualConnection<double>{.dropout = {0.5}}(none, x, norm, twice).value().isApprox(post, 1e-13));
  const ef::Matrix<double> pre = x.value() + 2 * norm(none, x).value();
  CHECK(ef::ResidualConnection<double>{.dropout = {0.5}, .norm_first = true}(none, x, norm, twice)
            .value()
            .isApprox(pre, 1e-13));
}

TEST_CASE("without the connection there is the function and its norm alone", "[layers]") {
  const ef::LayerNorm<double> norm(4);
  const ef::Variable<double> x = Eigen::MatrixXd::Random(3, 4);
  const ef::Context<double> none{};
  const auto twice = [&](const ef::Variable<double>& y) { return ef::scale(none, y, 2); };
  ef::ResidualConnection<double> connection{.enabled = false};
  CHECK(connection(none, x, norm, twice).value() == norm(none, twice(x)).value());
  connection.norm_first = true;
  CHECK(connection(none, x, norm, twice).value() == twice(norm(none, x)).value());
}
