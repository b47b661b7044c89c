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
