#include "eigenformer/core/detail/fast_math.hpp"

#include <cmath>

#include "eigenformer/core/simd.hpp"
#include "support/catch.hpp"

namespace ef = eigenformer;

TEMPLATE_TEST_CASE("what is infinite is told by bits", "[core]", float, double) {
  using Limits = std::numeric_limits<TestType>;
  CHECK(ef::detail::is_minus_infinity(-Limits::infinity()));
  for (const TestType x : {Limits::infinity(), Limits::quiet_NaN(), Limits::lowest(), TestType(0), TestType(-0.0)})
    CHECK_FALSE(ef::detail::is_minus_infinity(x));
  for (const TestType x : {Limits::lowest(), Limits::max(), Limits::denorm_min(), TestType(0), TestType(-1)})
    CHECK(ef::detail::is_finite(x));
  for (const TestType x : {Limits::infinity(), -Limits::infinity(), Limits::quiet_NaN(), -Limits::quiet_NaN()})
    CHECK_FALSE(ef::detail::is_finite(x));
}

// That they do what they are for is seen in flags/main.cpp.
TEMPLATE_TEST_CASE("numbers that are kept from a compiler stay what they are", "[core]", float, double) {
  for (const TestType x : {TestType(0.1), TestType(-7), -std::numeric_limits<TestType>::infinity()}) {
    CHECK(ef::simd::as_rounded(x) == x);
    CHECK(ef::simd::as_unknown(x) == x);
    const auto packet = ef::simd::broadcast(x);
    TestType lanes[ef::simd::lanes<TestType>];
    ef::simd::store(lanes, ef::simd::as_unknown(ef::simd::as_rounded(packet)));
    for (const TestType lane : lanes) CHECK(lane == x);
  }
}
