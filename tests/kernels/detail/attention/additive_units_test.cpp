#include "eigenformer/kernels/detail/attention/additive_units.hpp"

#include <cmath>
#include <vector>

#include "kernels/kernel_checks.hpp"

namespace ef = eigenformer;
namespace detail = eigenformer::detail;
using ef::Index;
using namespace ef::testing;

TEMPLATE_TEST_CASE("tanh and its slope from e^2x", "[kernels]", float, double) {
  for (const double x : {-30.0, -2.0, -0.25, 0.0, 1.0, 30.0}) {
    CAPTURE(x);
    const detail::TanhParts<TestType> parts(ef::simd::broadcast(static_cast<TestType>(x)));
    TestType e[ef::simd::lanes<TestType>], r[ef::simd::lanes<TestType>];
    ef::simd::store(e, parts.e);
    ef::simd::store(r, parts.r);
    CHECK(std::abs(1 - 2 * static_cast<double>(r[0]) - std::tanh(x)) <= rounding<TestType>(16));
    const double slope = 4 * static_cast<double>(e[0]) * static_cast<double>(r[0]) * static_cast<double>(r[0]);
    CHECK(std::abs(slope - (1 - std::tanh(x) * std::tanh(x))) <= rounding<TestType>(16));
  }
}

TEMPLATE_TEST_CASE("scores differ as those of the definition", "[kernels]", float, double) {
  constexpr Index lanes = ef::simd::lanes<TestType>;
  ef::Rng rng(8);
  const auto q = random_matrix<TestType>(1, 2 * lanes, rng), k = random_matrix<TestType>(3, 2 * lanes, rng),
             v = random_matrix<TestType>(1, 2 * lanes, rng);
  const ef::Matrix<TestType> minus_2v = -2 * v;
  std::vector<TestType> scores(3);
  detail::additive_scores<TestType>(3, 2, q.data(), {k.data(), 2 * lanes, 1}, minus_2v.data(), scores.data());
  for (Index j = 0; j < 3; ++j) {
    double expected = 0;  // v . tanh(q + k_j) less the sum of v
    for (Index c = 0; c < 2 * lanes; ++c)
      expected += static_cast<double>(v(0, c)) * (std::tanh(static_cast<double>(q(0, c) + k(j, c))) - 1);
    CHECK(std::abs(static_cast<double>(scores[static_cast<std::size_t>(j)]) - expected) <= rounding<TestType>(256));
  }
}

TEMPLATE_TEST_CASE("a part of a packet has zeros beyond, and is written alone", "[kernels]", float, double) {
  constexpr Index lanes = ef::simd::lanes<TestType>;
  const std::vector<TestType> from(static_cast<std::size_t>(lanes), TestType(3));
  std::vector<TestType> all(from.size()), part(from.size(), TestType(9));
  const auto packet = detail::load_part(from.data(), lanes - 1);
  ef::simd::store(all.data(), packet);
  CHECK(all.back() == 0);
  CHECK(all.front() == (lanes > 1 ? TestType(3) : TestType(0)));
  detail::store_part(part.data(), lanes - 1, packet);
  CHECK(part.back() == 9);
  detail::store_part(part.data(), lanes, packet);
  CHECK(part == all);
}
