// What every benchmark reports beside its time.
#pragma once

#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <vector>

#include "support/peak.hpp"

namespace eigenformer::bench {

/// Runs `work` as the benchmark, and gives `flops` (a second), `peak_flops` (the machine's) and `peak`, the share of it
/// that was reached. The machine's peak is measured every few milliseconds between the calls, since it moves; shares
/// are taken from one such measurement to the next, and the median of them is given. The benchmark uses manual time.
template <class Scalar, class Work>
void run_counted(benchmark::State& state, double operations, Work&& work) {
  constexpr double window_seconds = 2e-3;
  work();  // buffers are made, and pages touched
  struct Window {
    double flops, peak;
  };
  std::vector<Window> windows;
  double before = peak_flops<Scalar>(), seconds = 0;
  Index calls = 0;
  const auto close_window = [&] {
    const double after = peak_flops<Scalar>();
    windows.push_back({operations * static_cast<double>(calls) / seconds, (before + after) / 2});
    before = after;
    seconds = 0;
    calls = 0;
  };
  for (auto _ : state) {
    const auto begin = std::chrono::steady_clock::now();
    work();
    benchmark::ClobberMemory();
    const std::chrono::duration<double> call = std::chrono::steady_clock::now() - begin;
    state.SetIterationTime(call.count());
    seconds += call.count();
    ++calls;
    if (seconds > window_seconds) close_window();
  }
  if (calls > 0) close_window();
  const auto median = [&](auto value_of) {
    const auto middle = windows.begin() + static_cast<std::ptrdiff_t>(windows.size() / 2);
    std::nth_element(windows.begin(), middle, windows.end(),
                     [&](const Window& a, const Window& b) { return value_of(a) < value_of(b); });
    return value_of(*middle);
  };
  state.counters["flops"] = median([](const Window& w) { return w.flops; });
  state.counters["peak_flops"] = median([](const Window& w) { return w.peak; });
  state.counters["peak"] = median([](const Window& w) { return w.flops / w.peak; });
}

}  // namespace eigenformer::bench
