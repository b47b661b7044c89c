#include "eigenformer/layers/convolution.hpp"

#include "support/ops.hpp"

namespace ef = eigenformer;

TEST_CASE("a convolution reads its taps' rows", "[layers]") {
  const std::uint64_t seed = 341;
  CAPTURE(seed);
  ef::Rng rng(seed);
  ef::Convolution<double> layer({.inputs = 3, .outputs = 4, .kernel = 2, .padding = ef::ConvolutionPadding::causal},
                                rng);
  CHECK(layer.inputs() == 3);
  CHECK(layer.outputs() == 4);
  CHECK(layer.weight.value.cwiseAbs().maxCoeff() <= std::sqrt(6.0 / (2 * (3 + 4))));
  CHECK(layer.bias.value.isZero(0));
  layer.bias.value.setRandom();
  const auto x = ef::testing::random_matrix<double>(7, 3, rng);
  const ef::RowOffsets rows{0, 4, 7};
  ef::Matrix<double> past = ef::Matrix<double>::Zero(7, 3);
  past.middleRows(1, 3) = x.middleRows(0, 3);
  past.middleRows(5, 2) = x.middleRows(4, 2);
  const ef::Matrix<double>& w = layer.weight.value;
  const ef::Matrix<double> expected =
      (past * w.leftCols(3).transpose() + x * w.rightCols(3).transpose()).rowwise() + layer.bias.value.row(0);
  CHECK(layer({}, x, rows).value().isApprox(expected, 1e-14));
  ef::testing::check_parameters(layer, [&](const ef::Context<double>& c) { return layer(c, x, rows); });
}

TEST_CASE("a convolution's options", "[layers]") {
  ef::Rng rng(1);
  const ef::Convolution<double> plain({.inputs = 3, .outputs = 4, .kernel = 5, .dilation = 2, .bias = false}, rng);
  CHECK(ef::parameter_count(plain) == 60);
  CHECK(plain.window.dilation == 2);
  CHECK(plain.window.before() == 4);
  CHECK_THROWS_WITH(ef::Convolution<double>({.inputs = 3, .outputs = 4, .kernel = 0}, rng),
                    "Convolution: inputs are 3, outputs 4, kernel 0, dilation 1, expected 1 or more");
  CHECK_THROWS_WITH(plain({}, Eigen::MatrixXd::Zero(7, 4)),
                    "convolution: weight is [4 x 15], x is [7 x 4], kernel is 5, expected 20 columns");
}
