// Counters that the benchmarks report besides the time. All benchmarks use manual time.
#pragma once

#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <vector>

#include "support/peak.hpp"

namespace eigenformer::bench {

/// Returns the seconds of one call.
template <class Work>
double seconds_of(Work&& work) {
  const auto begin = std::chrono::steady_clock::now();
  work();
  benchmark::ClobberMemory();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

inline double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

/// Rates that run_in_windows returns.
struct Rates {
  double reached, possible, share;
};

/// A window ends after the first call that brings it above this number of seconds.
inline constexpr double window_seconds = 2e-3;

/// Runs `work` as the benchmark, in windows of a few milliseconds. Between windows, measure() returns the rate that the
/// machine can reach at that moment, because clock and other tenants change it. Returns medians over the windows:
///
///   reached    `amount` per call times calls per second
///   possible   mean of measure() before and after the window
///   share      reached / possible
template <class Work, class Measure>
Rates run_in_windows(benchmark::State& state, double amount, Work&& work, Measure&& measure) {
  // Warm-up. The first call allocates memory in chunks. The second may merge the chunks into a new one (see Workspace),
  // whose pages are untouched.
  work();
  work();
  std::vector<double> reached, possible, shares;
  double before = measure(), seconds = 0;
  Index calls = 0;
  const auto close_window = [&] {
    const double after = measure();
    reached.push_back(amount * static_cast<double>(calls) / seconds);
    possible.push_back((before + after) / 2);
    shares.push_back(reached.back() / possible.back());
    before = after;
    seconds = 0;
    calls = 0;
  };
  for (auto _ : state) {
    const double call = seconds_of(work);
    state.SetIterationTime(call);
    seconds += call;
    ++calls;
    if (seconds > window_seconds) close_window();
  }
  if (calls > 0) close_window();
  return {median(reached), median(possible), median(shares)};
}

/// Benchmarks `work`, which does `operations` floating-point operations per call. Reports the counters:
///
///   flops        floating-point operations per second
///   peak_flops   peak of the machine
///   peak         flops / peak_flops
template <class Scalar, class Work>
void run_counted(benchmark::State& state, double operations, Work&& work) {
  const Rates rates = run_in_windows(state, operations, work, [] { return peak_flops<Scalar>(); });
  state.counters["flops"] = rates.reached;
  state.counters["peak_flops"] = rates.possible;
  state.counters["peak"] = rates.share;
}

/// Benchmarks `work` against `plain`, which does the same without the feature under test. Both are timed in
/// turn, as means over windows of calls: the best of several calls must not be compared with a mean. Reports the
/// counter `speed`: the speed of `work` divided by the speed of `plain`.
template <class Plain, class Work>
void run_compared(benchmark::State& state, Plain&& plain, Work&& work) {
  plain();
  const auto plain_rate = [&] {
    double seconds = 0;
    Index calls = 0;
    for (; seconds <= window_seconds; ++calls) seconds += seconds_of(plain);
    return static_cast<double>(calls) / seconds;
  };
  state.counters["speed"] = run_in_windows(state, 1, work, plain_rate).share;
}

}  // namespace eigenformer::bench
