#include "eigenformer/autograd/gradients.hpp"

#include "support/catch.hpp"

namespace ef = eigenformer;

TEST_CASE("gradients are summed until they are cleared, in the same memory", "[autograd]") {
  const ef::Parameter<double> a(2, 2), b(1, 3);
  ef::Gradients<double> gradients;
  REQUIRE(gradients.find(a) == nullptr);
  REQUIRE(gradients[a].isZero(0));

  const ef::Matrix<double> ones = ef::Matrix<double>::Ones(2, 2);
  const ef::ConstMatrixMap<double> map(ones.data(), 2, 2);
  gradients.add(a, map);
  gradients.add(a, map);
  REQUIRE(gradients[a] == 2 * ones);
  REQUIRE(gradients.find(b) == nullptr);

  const double* memory = gradients.find(a)->data();
  gradients.clear();
  REQUIRE(gradients.find(a) == nullptr);
  gradients.add(a, map);
  REQUIRE(gradients[a] == ones);
  REQUIRE(gradients.find(a)->data() == memory);
}
