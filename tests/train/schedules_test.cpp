#include "eigenformer/train/schedules.hpp"

#include "support/catch.hpp"

namespace ef = eigenformer;

TEST_CASE("Noam's schedule is equation 3 of the paper", "[train]") {
  const ef::NoamSchedule schedule{512, 4000};
  for (const double t : {1.0, 10.0, 3999.0, 4000.0, 4001.0, 100000.0}) {
    const double expected = std::pow(512, -0.5) * std::min(std::pow(t, -0.5), t * std::pow(4000, -1.5));
    CHECK(std::abs(schedule(static_cast<ef::Index>(t)) / expected - 1) < 1e-12);
  }
}

TEST_CASE("the inverse square root rises to its peak and falls from there", "[train]") {
  const ef::InverseSquareRoot schedule{0.005, 2000};
  CHECK(std::abs(schedule(1) - 0.005 / 2000) < 1e-15);
  CHECK(std::abs(schedule(2000) - 0.005) < 1e-15);
  CHECK(std::abs(schedule(8000) - 0.0025) < 1e-15);
  CHECK(ef::InverseSquareRoot{1, 0}(4) == 0.5);
}
