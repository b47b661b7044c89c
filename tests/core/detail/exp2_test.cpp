#include "eigenformer/core/detail/exp2.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>
#include <vector>

#include "eigenformer/core/rng.hpp"
#include "support/catch.hpp"

namespace ef = eigenformer;
namespace simd = eigenformer::simd;

TEMPLATE_TEST_CASE("exp2 is 2^x", "[core]", float, double) {
  using Limits = std::numeric_limits<TestType>;
  const auto exp2_of = [](TestType x) {
    std::vector<TestType> to(simd::lanes<TestType>);
    simd::store(to.data(), simd::exp2<TestType>(simd::broadcast(x)));
    CHECK((std::isnan(to[0]) || to == std::vector<TestType>(to.size(), to[0])));
    return to[0];
  };
  CHECK(exp2_of(0) == 1);
  CHECK(exp2_of(-Limits::infinity()) == 0);
  CHECK(exp2_of(Limits::lowest()) == 0);
  constexpr int smallest = Limits::min_exponent - 1 + Limits::digits;
  CHECK(exp2_of(smallest) > 0);
  CHECK(exp2_of(std::nextafter(TestType(smallest), Limits::lowest())) == 0);
  ef::Rng rng(1);
  CHECK(std::isnan(exp2_of(Limits::quiet_NaN())));
  for (int i = 0; i < 1000; ++i) {  // a NaN is one whatever its sign and last bits are
    using Bits = std::conditional_t<sizeof(TestType) == 4, std::uint32_t, std::uint64_t>;
    const Bits half = Bits(rng()) << (4 * sizeof(Bits));
    const Bits bits = std::bit_cast<Bits>(Limits::quiet_NaN()) | half | Bits(rng());
    CAPTURE(bits);
    CHECK(std::isnan(exp2_of(std::bit_cast<TestType>(bits))));
  }
  const double lowest = smallest;
  const bool is_polynomial =
      simd::detail::fraction == simd::detail::Fraction::of_floor || simd::detail::shifts_to_exponent<TestType>;
  std::vector<TestType> tried{TestType(-0.0), -Limits::denorm_min(), TestType(-1e-30), -Limits::epsilon() / 4};
  for (int n = -100; n <= 126; ++n)
    for (const TestType x : {TestType(n - 1), TestType(n), TestType(n + 1)})
      tried.push_back(std::nextafter(TestType(n), x));
  for (int i = 0; i < 20000; ++i)
    tried.push_back(
        static_cast<TestType>(i % 2 == 0 ? lowest + (127 - lowest) * rng.uniform() : 2 * rng.uniform() - 1));
  for (const TestType x : tried) {
    const double expected = std::exp2(static_cast<double>(x));
    const double units = is_polynomial ? 3 : 3 + std::abs(static_cast<double>(x));
    CAPTURE(x);
    CHECK(std::abs(static_cast<double>(exp2_of(x)) - expected) <=
          units * static_cast<double>(Limits::epsilon()) * expected);
  }
}

TEMPLATE_TEST_CASE("exp2 of several packets is exp2 of each", "[core]", float, double) {
  constexpr int count = 5, lanes = simd::lanes<TestType>;
  ef::Rng rng(3);
  for (int round = 0; round < 50; ++round) {
    std::vector<TestType> x(count * lanes), together(x.size()), alone(x.size());
    for (TestType& entry : x) entry = static_cast<TestType>(300 * rng.uniform() - 200);
    simd::Packet<TestType> packets[count];
    for (int i = 0; i < count; ++i) packets[i] = simd::load(x.data() + i * lanes);
    simd::exp2_each<TestType>(packets);
    for (int i = 0; i < count; ++i) {
      simd::store(together.data() + i * lanes, packets[i]);
      simd::store(alone.data() + i * lanes, simd::exp2<TestType>(simd::load(x.data() + i * lanes)));
    }
    CHECK(together == alone);
  }
}

TEST_CASE("exp2 for 16-bit numbers is 2^x to their accuracy", "[core]") {
  using Limits = std::numeric_limits<float>;
  constexpr int count = 3, lanes = simd::lanes<float>;
  // Computes 2^x for packets with x in every lane, together with packets of other numbers.
  const auto exp2_of = [](float x) {
    simd::Packet<float> packets[count] = {simd::broadcast(-1.0F), simd::broadcast(x),
                                          simd::broadcast(Limits::lowest())};
    simd::exp2_for_16_bits(packets);
    std::vector<float> to(lanes);
    simd::store(to.data(), packets[1]);
    CHECK((std::isnan(to[0]) || to == std::vector<float>(lanes, to[0])));
    return to[0];
  };
  CHECK(exp2_of(0) == 1);
  CHECK(exp2_of(-0.0F) == 1);
  CHECK(exp2_of(-Limits::infinity()) == 0);
  CHECK(exp2_of(Limits::lowest()) == 0);
  CHECK(std::isnan(exp2_of(Limits::quiet_NaN())));
  CHECK(std::isnan(exp2_of(-Limits::quiet_NaN())));
  constexpr int smallest = Limits::min_exponent - 1 + Limits::digits;
  CHECK(exp2_of(smallest) > 0);
  CHECK(exp2_of(std::nextafter(float(smallest), Limits::lowest())) == 0);
  const unsigned seed = 4;
  CAPTURE(seed);
  ef::Rng rng(seed);
  std::vector<float> tried;
  for (int n = smallest; n <= 126; ++n)
    for (const float x : {float(n), std::nextafter(float(n), float(n + 1)), std::nextafter(float(n + 1), float(n))})
      tried.push_back(x);
  for (int i = 0; i < 20000; ++i)
    tried.push_back(static_cast<float>(i % 2 == 0 ? smallest + (127 - smallest) * rng.uniform() : -rng.uniform()));
  double largest = 0;
  for (const float x : tried) {
    const double expected = std::exp2(static_cast<double>(x));
    largest = std::max(largest, std::abs(static_cast<double>(exp2_of(x)) - expected) / expected);
  }
  CHECK(largest <= 9e-5);
}
