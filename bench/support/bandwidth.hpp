// Read bandwidth of one core, measured on given memory between the timed runs.
#pragma once

#include <benchmark/benchmark.h>

#include <algorithm>
#include <initializer_list>
#include <span>

#include "eigenformer/core/simd.hpp"
#include "eigenformer/core/types.hpp"
#include "support/counters.hpp"

namespace eigenformer::bench {

/// Reads all entries in order, except an incomplete last block.
inline void read_all(std::span<const float> numbers) {
  using P = simd::Packet<float>;
  constexpr int chains = 8;
  constexpr std::size_t lanes = simd::lanes<float>, step = chains * lanes;
  P sums[chains];
  for (P& sum : sums) sum = simd::broadcast(0.0F);
  for (std::size_t i = 0; i + step <= numbers.size(); i += step) {
    EIGENFORMER_UNROLL
    for (std::size_t c = 0; c < chains; ++c) sums[c] = simd::add(sums[c], simd::load(&numbers[i + c * lanes]));
  }
  P total = sums[0];
  for (int c = 1; c < chains; ++c) total = simd::add(total, sums[c]);
  float kept[simd::lanes<float>];
  simd::store(kept, total);
  benchmark::DoNotOptimize(kept);
}

/// Returns the bytes per second of reading `parts`, the best of three times. Pass the memory that the measured work
/// reads: other memory of that size would evict it from the last-level cache.
inline double read_bandwidth(std::initializer_list<std::span<const float>> parts) {
  double least = 1e9;
  std::size_t bytes = 0;
  for (const std::span<const float> part : parts) bytes += part.size_bytes();
  for (int repeat = 0; repeat < 3; ++repeat)
    least = std::min(least, seconds_of([&] {
                       for (const std::span<const float> part : parts) read_all(part);
                     }));
  return static_cast<double>(bytes) / least;
}

/// Benchmarks `work`, which reads all of `parts` once per call. Reports the counters:
///
///   bytes        bytes that `work` reads per second
///   peak_bytes   read bandwidth of the same memory, bytes per second
///   bandwidth    bytes / peak_bytes
template <class Work>
void run_reading(benchmark::State& state, std::initializer_list<std::span<const float>> parts, Work&& work) {
  double bytes = 0;
  for (const std::span<const float> part : parts) bytes += static_cast<double>(part.size_bytes());
  const Rates rates = run_in_windows(state, bytes, work, [&] { return read_bandwidth(parts); });
  state.counters["bytes"] = rates.reached;
  state.counters["peak_bytes"] = rates.possible;
  state.counters["bandwidth"] = rates.share;
}

inline std::span<const float> numbers_of(const Matrix<float>& matrix) {
  return {matrix.data(), static_cast<std::size_t>(matrix.size())};
}

}  // namespace eigenformer::bench
