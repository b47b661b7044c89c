#include "eigenformer/core/elementary.hpp"

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "support/approx.hpp"
#include "support/catch.hpp"
#include "support/random.hpp"

namespace ef = eigenformer;
using ef::Index;

namespace {

// In units of the result's rounding.
template <class Scalar>
double error_in_roundings(Scalar given, long double expected) {
  const auto size = static_cast<double>(std::abs(expected));
  return std::abs(static_cast<double>(static_cast<long double>(given) - expected)) /
         (size * static_cast<double>(std::numeric_limits<Scalar>::epsilon()));
}

}  // namespace

TEMPLATE_TEST_CASE("exp and tanh agree with the C library's to a few roundings", "[core]", float, double) {
  ef::Rng rng(1);
  const bool single = sizeof(TestType) == 4;
  const double range = single ? 87 : 700;
  double exp_error = 0, tanh_error = 0;
  for (int i = 0; i < 200000; ++i) {
    const double sizes[] = {1e-6, 1e-2, 0.5, 2, 9, 20, range};
    const auto x = static_cast<TestType>((2 * rng.uniform() - 1) * sizes[i % 7]);
    exp_error = std::max(exp_error, error_in_roundings(ef::exp(x), std::exp(static_cast<long double>(x))));
    tanh_error = std::max(tanh_error, error_in_roundings(ef::tanh(x), std::tanh(static_cast<long double>(x))));
  }
  CHECK(exp_error < 2);
  CHECK(tanh_error < 5);
}

TEMPLATE_TEST_CASE("exp and tanh of any NaN are NaN", "[core]", float, double) {
  using Bits = std::conditional_t<sizeof(TestType) == 4, std::uint32_t, std::uint64_t>;
  const Bits infinity = std::bit_cast<Bits>(std::numeric_limits<TestType>::infinity());
  const Bits sign = Bits{1} << (8 * sizeof(Bits) - 1);
  for (Bits payload = 1; payload < (infinity & (0 - infinity)); payload *= 2)
    for (const Bits bits : {infinity | payload, sign | infinity | payload, infinity | (2 * payload - 1)}) {
      CAPTURE(bits);
      const auto nan = std::bit_cast<TestType>(bits);
      CHECK(std::isnan(ef::exp(nan)));
      CHECK(std::isnan(ef::tanh(nan)));
    }
}

TEMPLATE_TEST_CASE("exp and tanh at the end of the range", "[core]", float, double) {
  using Limits = std::numeric_limits<TestType>;
  CHECK(ef::exp(TestType(0)) == 1);
  CHECK(ef::exp(-Limits::infinity()) == 0);
  CHECK(ef::exp(-Limits::max()) == 0);
  CHECK(ef::exp(Limits::infinity()) == Limits::infinity());
  CHECK(ef::exp(Limits::max()) == Limits::infinity());
  CHECK(std::isnan(ef::exp(Limits::quiet_NaN())));
  CHECK(ef::tanh(TestType(0)) == 0);
  for (const TestType far : {Limits::max(), Limits::infinity()}) {
    CHECK(std::abs(ef::tanh(far) - 1) <= 3 * Limits::epsilon());
    CHECK(ef::tanh(-far) == -ef::tanh(far));
  }
  CHECK(ef::tanh(Limits::min()) == Limits::min());
  CHECK(std::isnan(ef::tanh(Limits::quiet_NaN())));
  CHECK(ef::abs(TestType(-3)) == 3);
  CHECK(ef::abs(TestType(3)) == 3);
  CHECK(std::signbit(ef::tanh(-TestType(0))));
  CHECK_FALSE(std::signbit(ef::abs(-TestType(0))));
}
