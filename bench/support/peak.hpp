// The most multiply-adds that one core of this machine does in a second, measured here and now: the machine may be
// shared and its clock may move, so a figure is given as a share of a peak taken between the timed runs.
#pragma once

#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>

#include "eigenformer/core/simd.hpp"

namespace eigenformer::bench {

/// Floating-point operations a second, two a multiply-add, by as many independent chains as hide their latency.
template <class Scalar>
double peak_flops() {
  using P = simd::Packet<Scalar>;
  constexpr int chains = simd::registers >= 32 ? 24 : 12;
  constexpr int rounds = 50000;
  P sums[chains];
  for (P& sum : sums) sum = simd::broadcast(Scalar(1));
  const P a = simd::broadcast(Scalar(0.999)), b = simd::broadcast(Scalar(0.001));
  double best = 0;
  for (int repeat = 0; repeat < 3; ++repeat) {
    const auto begin = std::chrono::steady_clock::now();
    for (int round = 0; round < rounds; ++round)
      simd::unroll<chains>([&](auto i) { sums[i] = simd::multiply_add(sums[i], a, b); });
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
    best = std::max(best, 2.0 * simd::lanes<Scalar> * chains * rounds / seconds.count());
  }
  P total = sums[0];
  for (int i = 1; i < chains; ++i) total = simd::multiply_add(total, a, sums[i]);
  Scalar kept[simd::lanes<Scalar>];
  simd::store(kept, total);
  benchmark::DoNotOptimize(kept);
  return best;
}

}  // namespace eigenformer::bench
