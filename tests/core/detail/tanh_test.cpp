#include "eigenformer/core/detail/tanh.hpp"

#include <cmath>
#include <limits>
#include <vector>

#include "eigenformer/core/rng.hpp"
#include "support/catch.hpp"

namespace ef = eigenformer;
namespace simd = eigenformer::simd;

namespace {

template <class Scalar>
Scalar tanh_of(Scalar x) {
  std::vector<Scalar> lanes(simd::lanes<Scalar>);
  simd::store(lanes.data(), simd::tanh<Scalar>(simd::broadcast(x)));
  CHECK((std::isnan(lanes[0]) || lanes == std::vector<Scalar>(lanes.size(), lanes[0])));
  return lanes[0];
}

}  // namespace

TEMPLATE_TEST_CASE("tanh of a packet agrees with the C library's to 5 roundings", "[core]", float, double) {
  ef::Rng rng(1);
  // Errors are largest short of where the result is 1, from 4 to 9 in float and from 9 to 20 in double.
  for (int i = 0; i < 120000; ++i) {
    const double sizes[] = {1e-6, 1e-2, 0.5, 2, 9, 9, 20, 20};
    const auto x = static_cast<TestType>((2 * rng.uniform() - 1) * sizes[i % 8]);
    const long double expected = std::tanh(static_cast<long double>(x));
    CAPTURE(x);
    CHECK(std::abs(static_cast<long double>(tanh_of(x)) - expected) <=
          5 * std::numeric_limits<TestType>::epsilon() * std::abs(expected));
  }
}

TEMPLATE_TEST_CASE("tanh of a packet at the end of the range", "[core]", float, double) {
  using Limits = std::numeric_limits<TestType>;
  CHECK(tanh_of(TestType(0)) == 0);
  CHECK(std::signbit(tanh_of(-TestType(0))));
  CHECK(tanh_of(Limits::min()) == Limits::min());
  for (const TestType far : {Limits::max(), Limits::infinity()}) {
    CHECK(std::abs(tanh_of(far) - 1) <= 3 * Limits::epsilon());
    CHECK(tanh_of(-far) == -tanh_of(far));
  }
  CHECK(std::isnan(tanh_of(Limits::quiet_NaN())));
}
