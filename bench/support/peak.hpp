// Peak floating-point rate of one core, measured between the timed runs. Results are given as a share of this peak,
// because the machine may be shared and its clock may change.
#pragma once

#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>

#include "eigenformer/core/matrix_unit.hpp"

namespace eigenformer::bench {

/// Returns the floating-point operations per second of independent chains of FMAs. A multiply-add counts as two
/// operations. There are enough chains to hide the latency.
template <class Scalar>
double peak_flops() {
  using P = simd::Packet<Scalar>;
  constexpr int chains = simd::registers >= 32 ? 24 : 12;
  constexpr int rounds = 50000;
  // Hide the values from the compiler. It would merge chains that it knows to be equal, and remove unused results.
  alignas(64) Scalar starts[(chains + 2) * simd::lanes<Scalar>];
  for (Scalar& start : starts) start = Scalar(0.5);
  benchmark::DoNotOptimize(starts);
  benchmark::ClobberMemory();
  P sums[chains];
  for (int i = 0; i < chains; ++i) sums[i] = simd::load(starts + i * simd::lanes<Scalar>);
  const P a = simd::load(starts + chains * simd::lanes<Scalar>),
          b = simd::load(starts + (chains + 1) * simd::lanes<Scalar>);
  double best = 0;
  for (int repeat = 0; repeat < 3; ++repeat) {
    const auto begin = std::chrono::steady_clock::now();
    for (int round = 0; round < rounds; ++round) {
      EIGENFORMER_UNROLL
      for (int i = 0; i < chains; ++i) sums[i] = simd::multiply_add(sums[i], a, b);
    }
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
    best = std::max(best, 2.0 * simd::lanes<Scalar> * chains * rounds / seconds.count());
  }
  for (int i = 0; i < chains; ++i) simd::store(starts + i * simd::lanes<Scalar>, sums[i]);
  benchmark::DoNotOptimize(starts);
  return best;
}

/// Returns the floating-point operations per second of the best matrix unit, on operands in the L1 cache (32 KB).
template <>
inline double peak_flops<Eigen::bfloat16>() {
  using Value = Eigen::bfloat16;
  return matrix_unit::with_best<Value>([](auto unit) {
    using Unit = decltype(unit);
    constexpr Index steps = 8, block = matrix_unit::block, depth = matrix_unit::depth<Value>;
    constexpr Index size = steps * matrix_unit::step_size<Value>;
    constexpr int rounds = 5000;
    alignas(64) Value a[2 * size], b[2 * size];
    alignas(64) float c[4 * block * block] = {};
    std::fill(std::begin(a), std::end(a), Value(0.5F));
    std::fill(std::begin(b), std::end(b), Value(0.5F));
    const typename Unit::Session session;
    double best = 0;
    for (int repeat = 0; repeat < 3; ++repeat) {
      const auto begin = std::chrono::steady_clock::now();
      for (int round = 0; round < rounds; ++round)
        matrix_unit::multiply<Unit>(2, 2,
                                    {.steps = steps,
                                     .a = {a, depth, block * depth, size},
                                     .b = {b, size},
                                     .c = {c, block, 2 * block * block, block * block},
                                     .accumulates = false});
      const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
      best = std::max(best, static_cast<double>(8 * block * block * depth * steps * rounds) / seconds.count());
    }
    benchmark::DoNotOptimize(c);
    return best;
  });
}

}  // namespace eigenformer::bench
