#include "eigenformer/layers/convolution_layer.hpp"

#include "support/ops.hpp"

namespace ef = eigenformer;

TEST_CASE("a convolutional block is Gehring's, and gate and residual connection are options", "[layers]") {
  const std::uint64_t seed = 351;
  CAPTURE(seed);
  ef::Rng rng(seed);
  const bool gated = GENERATE(false, true), residual = GENERATE(false, true);
  CAPTURE(gated, residual);
  ef::ConvolutionLayer<double> layer({.width = 4, .gated = gated, .residual = residual}, rng);
  layer.convolution.bias.value.setRandom();
  const auto x = ef::testing::random_matrix<double>(9, 4, rng);
  const ef::RowOffsets rows{0, 3, 3, 9};

  const ef::Matrix<double> convolved = layer.convolution({}, x, rows).value();
  REQUIRE(convolved.cols() == (gated ? 8 : 4));
  ef::Matrix<double> expected = convolved.cwiseMax(0);
  if (gated) expected = (convolved.leftCols(4).array() / (1 + (-convolved.rightCols(4).array()).exp())).matrix().eval();
  if (residual) expected = std::sqrt(0.5) * (x + expected);
  CHECK(layer({}, x, rows).value().isApprox(expected, 1e-13));

  ef::testing::check_parameters(layer, [&](const ef::Context<double>& c) { return layer(c, x, rows); });
  ef::testing::check_op({x}, [&](const ef::Context<double>& c, const std::vector<ef::Variable<double>>& in) {
    return layer(c, in[0], rows);
  });
}

TEST_CASE("a convolutional block drops its convolution's input alone", "[layers]") {
  ef::Rng rng(352);
  const ef::ConvolutionLayer<double> layer({.width = 6, .kernel = 1, .dropout = 0.5, .gated = false}, rng);
  const auto x = ef::testing::random_matrix<double>(50, 6, rng);
  ef::Rng draws(7), same_draws(7);
  const ef::Matrix<double> y = layer({.rng = &draws}, x).value();
  const ef::Matrix<double> dropped =
      ef::dropout(ef::Context<double>{.rng = &same_draws}, ef::Variable<double>(x), 0.5).value();
  const ef::Matrix<double> f = (dropped * layer.convolution.weight.value.transpose()).cwiseMax(0);
  CHECK(y.isApprox(std::sqrt(0.5) * (x + f), 1e-13));
  CHECK_THROWS_WITH(ef::ConvolutionLayer<double>({.width = 6, .dropout = 1}, rng),
                    "ConvolutionLayer: dropout is 1, expected 0 or more and less than 1");
}

TEST_CASE("blocks begin so that their results neither grow nor vanish", "[layers]") {
  const std::uint64_t seed = 353;
  CAPTURE(seed);
  ef::Rng rng(seed);
  const bool gated = GENERATE(false, true), residual = GENERATE(false, true);
  CAPTURE(gated, residual);
  const auto x = ef::testing::random_matrix<float>(400, 64, rng);
  const ef::ConvolutionLayer<float> layer(
      {.width = 64, .kernel = 5, .dropout = 0.2, .gated = gated, .residual = residual}, rng);
  const float squares = layer({.rng = &rng}, x).value().squaredNorm() / x.squaredNorm();
  CHECK(squares > 0.7F);
  CHECK(squares < 1.5F);
}
