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

TEST_CASE("schedules with a known end follow their formulas at every update", "[train]") {
  constexpr double pi = 3.14159265358979323846;
  for (const ef::Index warmup : {0, 1, 7})
    for (const ef::Index updates : {9, 30})
      for (const double floor : {0.0, 0.25})
        for (ef::Index update = 1; update <= updates + 3; ++update) {
          CAPTURE(warmup, updates, floor, update);
          const double w = static_cast<double>(warmup), n = static_cast<double>(updates);
          const double t = std::min(static_cast<double>(update), n);
          const double rising = t < w ? t / w : 1, done = t < w ? 0 : (t - w) / (n - w);
          const double low = 0.4 * floor;
          const double cosine = t < w ? 0.4 * rising : low + 0.5 * (0.4 - low) * (1 + std::cos(pi * done));
          CHECK(std::abs(ef::CosineSchedule{0.4, warmup, updates, floor}(update)-cosine) < 1e-15);
          const double linear = t < w ? 0.4 * rising : 0.4 + (low - 0.4) * done;
          CHECK(std::abs(ef::LinearSchedule{0.4, warmup, updates, floor}(update)-linear) < 1e-15);
          const double stable = t <= n - 2 ? 0.4 * rising : low + (0.4 - low) * (n - t) / 2;
          CHECK(std::abs(ef::WarmupStableDecay{0.4, warmup, updates, 2, floor}(update)-stable) < 1e-15);
          const ef::WarmupStableDecay all_decay{0.4, warmup, updates, updates, floor};
          CHECK(ef::WarmupStableDecay{0.4, warmup, updates, 99, floor}(update) == all_decay(update));
        }
}
