#include "translate/peak.hpp"

#include <algorithm>
#include <chrono>
#include <numeric>
#include <vector>

#include "eigenformer/core/simd.hpp"

namespace translate {

namespace {

namespace simd = ef::simd;

/// Returns the floating-point operations per second of the calling thread: the best of several short loops, because
/// other programs may interrupt one.
double peak_of_thread() {
  // Enough independent sums to hide the latency of an addition.
  constexpr int chains = simd::registers >= 32 ? 24 : 12;
  constexpr int rounds = 20'000, repeats = 5;
  volatile float half = 0.5F;  // hides the values from the compiler
  const auto hidden = [&half] {
    const float value = half;
    return simd::broadcast<float>(value);
  };
  const auto factor = hidden();
  simd::Packet<float> sums[chains];
  for (auto& sum : sums) sum = hidden();
  double best = 0;
  for (int repeat = 0; repeat < repeats; ++repeat) {
    const auto begin = std::chrono::steady_clock::now();
    const auto added = hidden();
    for (int round = 0; round < rounds; ++round) {
      EIGENFORMER_UNROLL
      for (int i = 0; i < chains; ++i) sums[i] = simd::multiply_add(sums[i], factor, added);
    }
    float last[simd::lanes<float>];
    for (const auto& sum : sums) {
      simd::store(last, sum);
      half = last[0] > 0 ? 0.5F : 0.25F;  // needs the sums before the clock is read
    }
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
    best = std::max(best, 2.0 * simd::lanes<float> * chains * rounds / seconds.count());
  }
  return best;
}

}  // namespace

double peak_flops(ef::ThreadPool& pool) {
  std::vector<double> peaks(static_cast<std::size_t>(pool.size()));
  pool.run(pool.size(), [&](ef::Index i) { peaks[static_cast<std::size_t>(i)] = peak_of_thread(); });
  return std::accumulate(peaks.begin(), peaks.end(), 0.0);
}

}  // namespace translate
