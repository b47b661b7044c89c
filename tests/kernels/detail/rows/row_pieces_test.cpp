#include "eigenformer/kernels/detail/rows/row_pieces.hpp"

#include <cmath>
#include <vector>

#include "support/approx.hpp"
#include "support/catch.hpp"

namespace ef = eigenformer;
namespace detail = eigenformer::detail;
using ef::Index;
using ef::testing::rounding;

TEMPLATE_TEST_CASE("a row is taken in pieces that cover it once", "[kernels]", float, double) {
  for (const Index size : {0, 1, 7, 8, 9, 15, 16, 17, 100, 1025}) {
    CAPTURE(size);
    std::vector<TestType> x(static_cast<std::size_t>(size) + 1);
    for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<TestType>(i);
    std::vector<TestType> y(x.size(), TestType(-1));
    detail::for_each_piece<TestType>(size, [&](Index j, auto count) {
      CHECK(j % detail::piece_size<TestType> == 0);
      detail::store(y.data() + j, count, detail::load(x.data() + j, count));
    });
    CHECK(y.back() == TestType(-1));  // nothing is written beyond the row
    y.pop_back();
    x.pop_back();
    CHECK(x == y);
  }
  const std::vector<TestType> x{1, 2, 3};
  const auto padded = detail::load(x.data(), Index{2}, TestType(9));
  CHECK(padded[1] == TestType(2));
  CHECK((padded.tail(detail::piece_size<TestType> - 2) == TestType(9)).all());
}

TEMPLATE_TEST_CASE("sums of long rows lose no digits", "[kernels]", float, double) {
  const Index size = 1000003;
  const std::vector<TestType> x(static_cast<std::size_t>(size), TestType(0.1));
  const auto sum =
      detail::row_sum<TestType>(size, [&](Index j, auto count) { return detail::load(x.data() + j, count); });
  const double expected = static_cast<double>(size) * static_cast<double>(TestType(0.1));
  CHECK(std::abs(sum / expected - 1) < std::max(1e-13, rounding<TestType>(32)));

  const auto two = detail::row_sums<TestType, 2>(5, [&](auto& lanes, Index j, auto count) {
    lanes[0] += detail::load(x.data() + j, count);
    lanes[1] += 2 * detail::load(x.data() + j, count);
  });
  CHECK(std::abs(two[0] - 0.5) < rounding<TestType>(8));
  CHECK(std::abs(two[1] - 1.0) < rounding<TestType>(8));
  CHECK(detail::row_sum<TestType>(0, [&](Index, auto count) { return detail::load(x.data(), count); }) == 0);
}

TEMPLATE_TEST_CASE("the largest entry of a row", "[kernels]", float, double) {
  constexpr TestType infinity = std::numeric_limits<TestType>::infinity();
  CHECK(detail::row_max<TestType>(nullptr, 0) == -infinity);
  for (const std::size_t size : {1U, 5U, 16U, 37U})
    for (std::size_t at = 0; at < size; ++at) {
      std::vector<TestType> x(size, TestType(-8));
      x[at] = -3;
      CHECK(detail::row_max(x.data(), static_cast<Index>(size)) == TestType(-3));
    }
}

TEMPLATE_TEST_CASE("exp_or_zero is exp above the smallest normal number", "[kernels]", float, double) {
  using Limits = std::numeric_limits<TestType>;
  const TestType lowest = std::log(Limits::min());
  double max_error = 0;
  for (int i = 0; i <= 2000; ++i) {
    // Within 40 of the end the number that is taken off shows.
    const TestType x = (lowest + 40) * static_cast<TestType>(i) / 2000;
    const double expected = std::exp(static_cast<double>(x));
    const auto given = static_cast<double>(detail::exp_or_zero<TestType>(detail::RowPiece<TestType>::Constant(x))[0]);
    max_error = std::max(max_error, std::abs(given / expected - 1));
  }
  CHECK(max_error < rounding<TestType>(4));
  for (const TestType x : {lowest - 1, Limits::lowest(), -Limits::infinity()}) {
    CAPTURE(x);
    CHECK((detail::exp_or_zero<TestType>(detail::RowPiece<TestType>::Constant(x)) == TestType(0)).all());
  }
  CHECK(detail::exp_or_zero<TestType>(detail::RowPiece<TestType>::Constant(Limits::quiet_NaN())).isNaN().all());
}

TEMPLATE_TEST_CASE("a step is 0 or 1", "[kernels]", float, double) {
  using Limits = std::numeric_limits<TestType>;
  const auto step = [](TestType x) { return detail::step<TestType>(detail::RowPiece<TestType>::Constant(x)); };
  for (const TestType x : {Limits::min(), TestType(1e-20), TestType(1), Limits::max(), Limits::infinity()}) {
    CAPTURE(x);
    CHECK((step(x) == TestType(1)).all());
    CHECK((step(-x) == TestType(0)).all());
  }
  CHECK((step(0) == TestType(0)).all());
  CHECK(step(Limits::quiet_NaN()).isNaN().all());
}
