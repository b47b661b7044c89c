#include "eigenformer/layers/norms.hpp"

#include "support/ops.hpp"

namespace ef = eigenformer;

TEST_CASE("fresh norms bring each row to variance 1", "[layers]") {
  const std::uint64_t seed = 23;
  CAPTURE(seed);
  ef::Rng rng(seed);
  ef::LayerNorm<double> layer_norm(16);
  ef::RmsNorm<double> rms_norm(16);
  const ef::Matrix<double> x = 3 + 2 * ef::testing::random_matrix<double>(5, 16, rng).array();
  const ef::Matrix<double> y = layer_norm({}, x).value();
  CHECK(y.rowwise().mean().cwiseAbs().maxCoeff() < 1e-14);
  CHECK((y.array().square().rowwise().mean() - 1).abs().maxCoeff() < 1e-4);
  const ef::Matrix<double> z = rms_norm({}, x).value();
  CHECK((z.array().square().rowwise().mean() - 1).abs().maxCoeff() < 1e-4);
  ef::testing::check_parameters(layer_norm, [&](const ef::Context<double>& c) { return layer_norm(c, x); });
  ef::testing::check_parameters(rms_norm, [&](const ef::Context<double>& c) { return rms_norm(c, x); });
}

TEST_CASE("a layer norm without a bias adds none, and has no parameter for it", "[layers]") {
  const std::uint64_t seed = 24;
  CAPTURE(seed);
  ef::Rng rng(seed);
  const ef::LayerNorm<double> with_bias(6);
  ef::LayerNorm<double> norm(6, 1e-5, false);
  const auto x = ef::testing::random_matrix<double>(5, 6, rng), y = ef::testing::random_matrix<double>(5, 6, rng);
  CHECK(norm({}, x).value() == with_bias({}, x).value());
  CHECK(norm.of_sum({}, x, y).value() == with_bias.of_sum({}, x, y).value());
  CHECK(ef::parameter_count(norm) == 6);
  CHECK(!norm.empty());
  ef::testing::check_parameters(norm, [&](const ef::Context<double>& c) { return norm.of_sum(c, norm(c, x), y); });
  ef::testing::check_op({x, y}, [&](const ef::Context<double>& c, const std::vector<ef::Variable<double>>& in) {
    return norm.of_sum(c, norm(c, in[0]), in[1]);
  });
}

TEST_CASE("norms of a negative number of features are refused", "[layers]") {
  CHECK_THROWS_WITH(ef::LayerNorm<float>(-3), "LayerNorm: features are -3, expected 0 or more");
  CHECK_THROWS_WITH(ef::RmsNorm<float>(-3), "RmsNorm: features are -3, expected 0 or more");
}
