// What one core of this machine reads in a second from memory of a given size, measured here and now.
#pragma once

#include <benchmark/benchmark.h>

#include <algorithm>
#include <vector>

#include "eigenformer/core/simd.hpp"
#include "support/counters.hpp"

namespace eigenformer::bench {

/// Bytes a second of reading `memory` in order, the best of three times.
inline double read_bandwidth(const std::vector<float>& memory) {
  using P = simd::Packet<float>;
  constexpr int chains = 8;
  constexpr std::size_t step = chains * simd::lanes<float>;
  double least = 1e9;
  for (int repeat = 0; repeat < 3; ++repeat)
    least = std::min(least, seconds_of([&] {
                       P sums[chains];
                       for (P& sum : sums) sum = simd::broadcast(0.0F);
                       for (std::size_t i = 0; i + step <= memory.size(); i += step) {
                         EIGENFORMER_UNROLL
                         for (int c = 0; c < chains; ++c)
                           sums[c] = simd::add(sums[c], simd::load(memory.data() + i + c * simd::lanes<float>));
                       }
                       P total = sums[0];
                       for (int c = 1; c < chains; ++c) total = simd::add(total, sums[c]);
                       float kept[simd::lanes<float>];
                       simd::store(kept, total);
                       benchmark::DoNotOptimize(kept);
                     }));
  return static_cast<double>(memory.size()) * sizeof(float) / least;
}

}  // namespace eigenformer::bench
