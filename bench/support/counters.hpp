// What every benchmark reports beside its time.
#pragma once

#include <benchmark/benchmark.h>

#include <chrono>

#include "support/peak.hpp"

namespace eigenformer::bench {

/// Runs `work` as the benchmark, and gives `flops` (a second), `peak_flops` (the machine's, measured right before and
/// after) and `peak`, the share of it that was reached.
template <class Scalar, class Work>
void run_counted(benchmark::State& state, double operations, Work&& work) {
  work();  // buffers are made, and pages touched
  const double before = peak_flops<Scalar>();
  const auto begin = std::chrono::steady_clock::now();
  for (auto _ : state) {
    work();
    benchmark::ClobberMemory();
  }
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
  const double peak = (before + peak_flops<Scalar>()) / 2;
  const double flops = operations * static_cast<double>(state.iterations()) / seconds.count();
  state.counters["flops"] = flops;
  state.counters["peak_flops"] = peak;
  state.counters["peak"] = flops / peak;
}

}  // namespace eigenformer::bench
