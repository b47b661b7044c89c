// Benchmarks attention of one query over n cached keys, as in decoding, and the memory use of a long sequence. One
// thread, float.
//
// Decoding is bound by reading keys and values once, so `bandwidth` reports the share of the read bandwidth.
#include "eigenformer/kernels/attention.hpp"
#include "support/bandwidth.hpp"
#include "support/memory.hpp"

namespace {

namespace ef = eigenformer;
using ef::Index;
using ef::Matrix;

/// `heads` query heads that share one key head. Each head does 2 FLOP per number read, so many heads are bound by
/// arithmetic.
void decoding(benchmark::State& state) {
  const Index n = state.range(0), d = state.range(1), heads = state.range(2);
  const Matrix<float> q = Matrix<float>::Random(1, heads * d), k = Matrix<float>::Random(n, d),
                      v = Matrix<float>::Random(n, d);
  Matrix<float> out(1, heads * d), log_sum_exp(1, heads);
  ef::bench::run_reading(state, {ef::bench::numbers_of(k), ef::bench::numbers_of(v)}, [&] {
    ef::attention_forward<float>({ef::strided_view(q), ef::strided_view(k), ef::strided_view(v)}, ef::Unmasked{},
                                 {.heads = heads, .key_heads = 1}, {out, log_sum_exp});
  });
}
BENCHMARK(decoding)
    ->ArgNames({"n", "d", "heads"})
    ->ArgsProduct({{256, 1024, 4096, 16384, 131072}, {64, 128}, {1, 4, 8}})
    ->MinTime(0.1)
    ->UseManualTime()
    ->Unit(benchmark::kMicrosecond);

/// Sixteen sequences, each with one query, that share a prefix of n keys in pages, beside sixteen caches of their own.
/// Reports the counter `speed`: the speed with pages divided by that without.
void shared_prefix(benchmark::State& state) {
  const Index n = state.range(0), d = state.range(1), page_size = state.range(2), sequences = 16, own = 32;
  const Index prefix_pages = n / page_size, rows = (prefix_pages + sequences) * page_size;
  const Matrix<float> q = Matrix<float>::Random(sequences, d);
  const Matrix<float> k = Matrix<float>::Random(rows, d), v = Matrix<float>::Random(rows, d);
  std::vector<Index> pages;
  const ef::RowOffsets query_rows = ef::RowOffsets::from_lengths(std::vector<Index>(16, 1));
  const ef::RowOffsets key_rows = ef::RowOffsets::from_lengths(std::vector<Index>(16, n + own));
  Matrix<float> own_k((n + own) * sequences, d), own_v((n + own) * sequences, d);
  for (Index s = 0; s < sequences; ++s) {
    for (Index page = 0; page < prefix_pages; ++page) pages.push_back(page);
    pages.push_back(prefix_pages + s);
    own_k.middleRows(s * (n + own), n + own) << k.topRows(n), k.middleRows((prefix_pages + s) * page_size, own);
    own_v.middleRows(s * (n + own), n + own) << v.topRows(n), v.middleRows((prefix_pages + s) * page_size, own);
  }
  Matrix<float> out(sequences, d), sums(sequences, 1);
  ef::AttentionOptions options{.query_rows = query_rows, .key_rows = key_rows}, paged = options;
  paged.key_pages = ef::KeyPages{page_size, pages};
  ef::bench::run_compared(
      state,
      [&] {
        ef::attention_forward<float>({q, own_k, own_v}, ef::Unmasked{}, options, {out, sums});
      },
      [&] {
        ef::attention_forward<float>({q, k, v}, ef::Unmasked{}, paged, {out, sums});
      });
}
BENCHMARK(shared_prefix)
    ->ArgNames({"n", "d", "page_size"})
    ->ArgsProduct({{4096}, {64, 128}, {64, 256}})
    ->MinTime(0.1)
    ->UseManualTime()
    ->Unit(benchmark::kMicrosecond);

/// Reports the counter `extra_bytes`: memory that one forward call touches beyond its inputs and results.
void attention_memory(benchmark::State& state) {
  const Index n = state.range(0), d = state.range(1);
  const Matrix<float> q = Matrix<float>::Random(n, d), k = Matrix<float>::Random(n, d), v = Matrix<float>::Random(n, d);
  Matrix<float> out = Matrix<float>::Zero(n, d), log_sum_exp = Matrix<float>::Zero(n, 1);
  for (auto _ : state) {
    const double before = ef::bench::begin_of_peak_memory();
    state.SetIterationTime(ef::bench::seconds_of([&] {
      ef::attention_forward<float>({ef::strided_view(q), ef::strided_view(k), ef::strided_view(v)}, ef::Unmasked{}, {},
                                   {out, log_sum_exp});
    }));
    if (before < 0) return state.SkipWithError("this system does not tell its peak of memory");
    state.counters["extra_bytes"] = ef::bench::peak_memory() - before;
  }
}
BENCHMARK(attention_memory)
    ->ArgNames({"n", "d"})
    ->Args({65536, 64})
    ->Iterations(1)
    ->UseManualTime()
    ->Unit(benchmark::kMillisecond);

}  // namespace

BENCHMARK_MAIN();
