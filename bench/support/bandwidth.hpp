// What one core of this machine reads in a second of given memory, measured here and now.
#pragma once

#include <benchmark/benchmark.h>

#include <algorithm>

#include "eigenformer/core/simd.hpp"
#include "eigenformer/core/types.hpp"
#include "support/counters.hpp"

namespace eigenformer::bench {

/// Reads all entries, in order.
inline void read_all(const Matrix<float>& matrix) {
  using P = simd::Packet<float>;
  constexpr int chains = 8;
  constexpr Index step = chains * simd::lanes<float>;
  P sums[chains];
  for (P& sum : sums) sum = simd::broadcast(0.0F);
  for (Index i = 0; i + step <= matrix.size(); i += step) {
    EIGENFORMER_UNROLL
    for (int c = 0; c < chains; ++c)
      sums[c] = simd::add(sums[c], simd::load(matrix.data() + i + c * simd::lanes<float>));
  }
  P total = sums[0];
  for (int c = 1; c < chains; ++c) total = simd::add(total, sums[c]);
  float kept[simd::lanes<float>];
  simd::store(kept, total);
  benchmark::DoNotOptimize(kept);
}

/// Bytes a second of reading two matrices, the best of three times. Those that the work reads which is measured against
/// it: as much memory elsewhere would have them leave the last cache before it, and be there itself.
inline double read_bandwidth(const Matrix<float>& a, const Matrix<float>& b) {
  double least = 1e9;
  for (int repeat = 0; repeat < 3; ++repeat)
    least = std::min(least, seconds_of([&] {
                       read_all(a);
                       read_all(b);
                     }));
  return static_cast<double>(a.size() + b.size()) * sizeof(float) / least;
}

}  // namespace eigenformer::bench
