#include "eigenformer/layers/linear.hpp"

#include "support/ops.hpp"

namespace ef = eigenformer;

TEST_CASE("a linear layer is x weight^T + bias", "[layers]") {
  const std::uint64_t seed = 21;
  CAPTURE(seed);
  ef::Rng rng(seed);
  ef::Linear<double> layer(5, 3, rng);
  layer.bias.value.setRandom();
  const auto x = ef::testing::random_matrix<double>(4, 5, rng);
  const ef::Matrix<double> expected = (x * layer.weight.value.transpose()).rowwise() + layer.bias.value.row(0);
  CHECK(layer({}, x).value().isApprox(expected, 1e-14));
  CHECK(layer.inputs() == 5);
  CHECK(layer.outputs() == 3);
  ef::testing::check_parameters(layer, [&](const ef::Context<double>& c) { return layer(c, x); });

  ef::Linear<double> without_bias(5, 3, rng, false);
  CHECK(ef::parameter_count(without_bias) == 15);
  CHECK_THROWS_WITH(without_bias({}, Eigen::MatrixXd::Zero(7, 4)), "linear: x is [7 x 4], weight is [3 x 5]");
}

TEST_CASE("a linear layer of negative size is refused", "[layers]") {
  ef::Rng rng(1);
  CHECK_THROWS_WITH(ef::Linear<float>(-3, 4, rng), "Linear: inputs are -3, outputs 4, expected 0 or more");
  CHECK_THROWS_WITH(ef::Linear<float>(3, -4, rng), "Linear: inputs are 3, outputs -4, expected 0 or more");
}
