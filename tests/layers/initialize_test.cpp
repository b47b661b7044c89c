#include "eigenformer/layers/initialize.hpp"

#include "support/catch.hpp"

namespace ef = eigenformer;

TEST_CASE("Xavier's weights fill their range evenly", "[layers]") {
  ef::Rng rng(1);
  const ef::Parameter<double> weight = ef::xavier_uniform<double>(100, 200, rng);
  const double limit = std::sqrt(6.0 / 300);
  CHECK(weight.value.rows() == 100);
  CHECK(weight.value.cols() == 200);
  CHECK(weight.value.maxCoeff() <= limit);
  CHECK(weight.value.maxCoeff() > 0.99 * limit);
  CHECK(weight.value.minCoeff() < -0.99 * limit);
  CHECK(std::abs(weight.value.mean()) < 0.01 * limit);
  CHECK(std::abs(weight.value.array().square().mean() / (limit * limit / 3) - 1) < 0.02);
}

TEST_CASE("Xavier's weights of a convolution count inputs and outputs once a tap", "[layers]") {
  ef::Rng rng(3);
  const ef::Parameter<double> weight = ef::xavier_uniform<double>(100, 50, rng, 4);
  CHECK(weight.value.rows() == 100);
  CHECK(weight.value.cols() == 200);
  const double limit = std::sqrt(6.0 / 600);
  CHECK(weight.value.maxCoeff() <= limit);
  CHECK(weight.value.maxCoeff() > 0.99 * limit);
}

TEST_CASE("normal weights have the given deviation, and another draw gives others", "[layers]") {
  ef::Rng rng(2);
  const ef::Parameter<float> a = ef::normal<float>(100, 100, 0.5, rng), b = ef::normal<float>(100, 100, 0.5, rng);
  CHECK(std::abs(std::sqrt(a.value.array().square().mean()) - 0.5f) < 0.01f);
  CHECK(a.value != b.value);
}
