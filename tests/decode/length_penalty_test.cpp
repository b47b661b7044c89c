#include "eigenformer/decode/length_penalty.hpp"

#include "support/catch.hpp"

namespace ef = eigenformer;

TEST_CASE("length penalties have the values of their formulas", "[decode]") {
  CHECK(ef::length_penalty(ef::LengthPenalty::average, 1, 7) == 7);
  CHECK(ef::length_penalty(ef::LengthPenalty::average, 0.5, 16) == 4);
  CHECK(ef::length_penalty(ef::LengthPenalty::average, -1, 4) == 0.25);
  CHECK(ef::length_penalty(ef::LengthPenalty::average, 1, 0) == 1);
  CHECK(ef::length_penalty(ef::LengthPenalty::gnmt, 1, 7) == 2);
  CHECK(ef::length_penalty(ef::LengthPenalty::gnmt, 0.6, 1) == 1);
  CHECK(std::abs(ef::length_penalty(ef::LengthPenalty::gnmt, 0.6, 20) - std::pow(25.0, 0.6) / std::pow(6.0, 0.6)) <
        1e-12);
  for (const ef::Index length : {0, 1, 9}) CHECK(ef::length_penalty(ef::LengthPenalty::gnmt, 0, length) == 1);
}

TEST_CASE("the coverage penalty counts source tokens that are covered in part", "[decode]") {
  CHECK(std::abs(ef::coverage_penalty(0.2, Eigen::Array4d(0.5, 1.5, 0.25, 0)) - 0.2 * std::log(0.125)) < 1e-15);
  CHECK(ef::coverage_penalty(0.2, Eigen::RowVector2f(1, 3)) == 0);
  CHECK(ef::coverage_penalty(0.2, Eigen::ArrayXd()) == 0);
}
