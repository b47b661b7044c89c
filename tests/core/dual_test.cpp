#include "eigenformer/core/dual.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "support/catch.hpp"
#include "support/random.hpp"

namespace ef = eigenformer;
using Dual = ef::Dual<double>;

namespace {

// A function's derivative by dual numbers against its central difference.
template <class Function>
double error_at(Function f, double x) {
  const Dual y = f(Dual(x, 1));
  const double h = 1e-6, expected = (f(x + h) - f(x - h)) / (2 * h);
  CHECK(std::abs(y.value - f(x)) < 1e-14 * std::max(1.0, std::abs(y.value)));  // products may be fused in either
  return std::abs(y.derivative - expected) / std::max(1.0, std::abs(expected));
}

}  // namespace

TEST_CASE("dual numbers carry derivatives", "[core]") {
  using ef::abs, ef::exp, ef::tanh;
  ef::Rng rng(1);
  for (int i = 0; i < 100; ++i) {
    const double x = 4 * rng.uniform() - 2;
    CAPTURE(x);
    if (std::abs(x) < 0.01) continue;  // the kink
    CHECK(error_at([](auto s) { return 3 * s + s * 2 - s / 4 + 1; }, x) < 1e-6);
    CHECK(error_at([](auto s) { return (1 - s) * s / (s * s + 2); }, x) < 1e-6);
    CHECK(error_at([](auto s) { return exp(s / 2) * tanh(s) - abs(s); }, x) < 1e-6);
    CHECK(error_at([](auto s) { return s > 0.5 ? -s * s : s; }, x > 0.49 && x < 0.51 ? 0 : x) < 1e-6);
    CHECK(error_at(
              [](auto s) {
                auto sum = s;
                sum += 2;
                sum *= s;
                sum -= s / 3;
                sum /= 1.5F;
                return sum;
              },
              x) < 1e-6);
  }
  for (const double x : {0.25, 1.0, 3.5}) {
    CAPTURE(x);
    CHECK(error_at([](auto s) { return ef::log(2 * s) + ef::sqrt(s * s + s); }, x) < 1e-6);
    CHECK(error_at([](auto s) { return ef::pow(s, 3) - ef::pow(s, 0.5F) + ef::pow(s, -1); }, x) < 1e-6);
  }
  CHECK(ef::pow(Dual(0, 1), 0) == Dual(1));
  CHECK(ef::pow(Dual(0, 1), 0).derivative == 0);
  // A constant has no derivative, not one of 0 that could become undefined.
  const double inf = std::numeric_limits<double>::infinity();
  Dual doubled(inf, 1), halved(inf, 1);
  doubled *= 2;
  halved /= 2;
  CHECK((Dual(inf, 1) * 2).derivative == 2);
  CHECK((2 * Dual(inf, 1)).derivative == 2);
  CHECK((Dual(inf, 1) / 2).derivative == 0.5);
  CHECK(doubled.derivative == 2);
  CHECK(halved.derivative == 0.5);
  CHECK(Dual(2.0, 5.0) == Dual(2));
  CHECK(Dual(2.0, 5.0) < 3);
}
