#include "eigenformer/kernels/detail/rows/activation_functions.hpp"

#include <cmath>
#include <limits>

#include "support/approx.hpp"
#include "support/catch.hpp"

namespace detail = eigenformer::detail;
using eigenformer::testing::rounding;

TEMPLATE_TEST_CASE("the logistic function and its derivative", "[kernels]", float, double) {
  using RowPiece = detail::RowPiece<TestType>;
  for (const double x : {-20.0, -3.0, -0.5, 0.0, 0.5, 3.0, 20.0}) {
    CAPTURE(x);
    const detail::Logistic<TestType> logistic(RowPiece::Constant(static_cast<TestType>(x)));
    const double value = 1 / (1 + std::exp(-x)), slope = value / (1 + std::exp(x));
    CHECK(std::abs(static_cast<double>(logistic.value[0]) - value) <= rounding<TestType>(8) * value);
    CHECK(std::abs(static_cast<double>(logistic.slope[0]) - slope) <= rounding<TestType>(8) * slope);
  }
  const TestType huge = std::numeric_limits<TestType>::infinity();
  CHECK(detail::Logistic<TestType>(RowPiece::Constant(huge)).value[0] == 1);
  CHECK(detail::Logistic<TestType>(RowPiece::Constant(-huge)).value[0] == 0);
  CHECK(detail::Logistic<TestType>(RowPiece::Constant(huge)).slope[0] == 0);
}

TEMPLATE_TEST_CASE("the tail of the normal distribution", "[kernels]", float, double) {
  using RowPiece = detail::RowPiece<TestType>;
  for (const double x : {-6.0, -1.0, 0.0, 0.3, 2.0, 5.0}) {
    CAPTURE(x);
    const detail::NormalTail<TestType> normal(RowPiece::Constant(static_cast<TestType>(x)));
    const double tail = std::erfc(std::abs(x) * std::sqrt(0.5)) / 2;
    const double density = std::exp(-x * x / 2) / std::sqrt(2 * 3.14159265358979323846);
    CHECK(std::abs(static_cast<double>(normal.tail[0]) - tail) <= rounding<TestType>(64) * tail);
    CHECK(std::abs(static_cast<double>(normal.density[0]) - density) <= rounding<TestType>(64) * density);
  }
}

TEST_CASE("a polynomial is given by its highest power first", "[kernels]") {
  const detail::RowPiece<double> x = detail::RowPiece<double>::Constant(3);
  CHECK(detail::polynomial(x, {2.0, 5.0, 7.0})[0] == 2 * 9 + 5 * 3 + 7);
}
