#include "questions/support/statistics.hpp"

#include "support/catch.hpp"

using Values = std::vector<double>;

TEST_CASE("means and medians", "[examples]") {
  CHECK(questions::mean(Values{1, 2, 6}) == 3);
  CHECK(std::isnan(questions::mean(Values{})));
  CHECK(questions::mean_of_last(Values{9, 1, 3}, 2) == 2);
  CHECK(questions::mean_of_last(Values{1, 3}, 5) == 2);
  CHECK(questions::median({5, 1, 3}) == 3);
  CHECK(questions::median({4, 1, 3, 2}) == 2.5);
  CHECK_THROWS_AS(questions::median({}), eigenformer::Error);
}

TEST_CASE("a power's exponent is found", "[examples]") {
  const Values x{1, 2, 4, 8};
  for (const double exponent : {-1.0, 0.0, 0.5, 2.0}) {
    CAPTURE(exponent);
    Values y;
    for (const double v : x) y.push_back(7 * std::pow(v, exponent));
    CHECK(std::abs(questions::fitted_exponent(x, y) - exponent) < 1e-12);
  }
  CHECK_THROWS_AS(questions::fitted_exponent(x, Values{1, 2}), eigenformer::Error);
  CHECK_THROWS_AS(questions::fitted_exponent(Values{3, 3}, Values{1, 2}), eigenformer::Error);
  CHECK_THROWS_AS(questions::fitted_exponent(Values{1, 2}, Values{0, 2}), eigenformer::Error);
}
