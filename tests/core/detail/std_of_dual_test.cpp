#include "eigenformer/core/detail/std_of_dual.hpp"

#include <algorithm>
#include <cmath>

#include "support/catch.hpp"

namespace ef = eigenformer;

// That std::exp and others of a Dual do not compile is a test in compile_fail/.
TEST_CASE("functions written for std and others alike find those of duals", "[core]") {
  using std::abs, std::exp, std::log, std::max, std::pow, std::sqrt, std::tanh;
  const ef::Dual<double> x(0.5, 1), y(2, 0);
  CHECK(exp(x).derivative == ef::exp(x).derivative);
  CHECK(tanh(x).derivative == ef::tanh(x).derivative);
  CHECK(abs(-x).derivative == 1);
  CHECK(log(x).derivative == 2);
  CHECK(sqrt(x).derivative == ef::sqrt(x).derivative);
  CHECK(pow(x, 2).derivative == 1);
  CHECK(max(x, y).derivative == 0);
  CHECK(std::min(x, y).derivative == 1);
  CHECK(exp(0.5F) == std::exp(0.5F));
  CHECK(std::max(1, 2) == 2);
}
