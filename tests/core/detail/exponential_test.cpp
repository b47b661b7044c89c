#include "eigenformer/core/detail/exponential.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>

#include "support/catch.hpp"

namespace ef = eigenformer;

TEMPLATE_TEST_CASE("the exponential of every entry of an array", "[core]", float, double) {
  using Limits = std::numeric_limits<TestType>;
  using Array = Eigen::Array<TestType, Eigen::Dynamic, 1>;
  const double lowest = std::log(static_cast<double>((Limits::min)())),
               highest = std::log(static_cast<double>((Limits::max)()));
  const ef::Index count = 10007;  // the last entries fill no packet
  const Array x =
      Array::LinSpaced(count, static_cast<TestType>(lowest + 0.001), static_cast<TestType>(highest - 0.001));
  const Array y = x.unaryExpr(ef::detail::FullExponential<TestType>());
  double largest = 0;
  for (ef::Index i = 0; i < count; ++i) {
    const double expected = std::exp(static_cast<double>(x(i)));
    largest = std::max<double>(largest, std::abs(static_cast<double>(y(i)) - expected) / expected);
  }
  CHECK(largest <= 4 * static_cast<double>(Limits::epsilon()));
  for (const TestType value : {TestType(lowest - 1), TestType(-1e6), -Limits::infinity()}) {
    const Array zeros = Array::Constant(37, value).unaryExpr(ef::detail::FullExponential<TestType>());
    CHECK((zeros == 0).all());
  }
  for (const TestType value : {TestType(highest + 0.001), TestType(1e6), Limits::infinity()}) {
    const Array infinities = Array::Constant(37, value).unaryExpr(ef::detail::FullExponential<TestType>());
    CHECK((infinities == Limits::infinity()).all());
  }
  const Array nan = Array::Constant(37, Limits::quiet_NaN()).unaryExpr(ef::detail::FullExponential<TestType>());
  CHECK(nan.isNaN().all());
}
