#include "eigenformer/layers/dropout.hpp"

#include "support/catch.hpp"

namespace ef = eigenformer;

TEST_CASE("a dropout layer works where the context has a generator", "[layers]") {
  const ef::Dropout<float> layer{0.5};
  const ef::Variable<float> x = Eigen::MatrixXf::Ones(20, 20);
  CHECK(layer({}, x).value() == x.value());
  ef::Rng rng(1);
  const ef::Matrix<float> y = layer({.rng = &rng}, x).value();
  CHECK(((y.array() == 0) || (y.array() == 2)).all());
  CHECK((y.array() == 0).any());
}
