// Benchmarks attention of one query over n cached keys, as in decoding; sequences that share a prefix of their keys;
// the steps of a Transformer's beam search, for several sizes of pages; and the memory use of a long sequence. One
// thread, float.
//
// With few heads, decoding is bound by reading keys and values once, so `bandwidth` reports the share of the read
// bandwidth.
#include "eigenformer/kernels/attention.hpp"
#include "eigenformer/models/transformer_state.hpp"
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

/// Compares attention over pages of keys (key_pages) with attention over a list of rows (key_index), as in a beam
/// search: 160 hypotheses of n keys each, with eight heads of 64 columns. In both, the keys of different hypotheses are
/// interleaved, in the order in which decoding steps wrote them. Reports the counter `speed`: the speed with pages
/// divided by the speed with the list.
void hypotheses_in_pages(benchmark::State& state) {
  const Index n = state.range(0), page_size = state.range(1), hypotheses = 160, heads = 8, width = 512;
  const Index pages_each = (n + page_size - 1) / page_size, rows = hypotheses * pages_each * page_size;
  const Matrix<float> q = Matrix<float>::Random(hypotheses, width);
  const Matrix<float> k = Matrix<float>::Random(rows, width), v = Matrix<float>::Random(rows, width);
  std::vector<Index> pages, index;
  for (Index h = 0; h < hypotheses; ++h) {
    for (Index page = 0; page < pages_each; ++page) pages.push_back(page * hypotheses + h);
    for (Index token = 0; token < n; ++token) index.push_back(token * hypotheses + h);
  }
  const ef::RowOffsets query_rows = ef::RowOffsets::from_lengths(std::vector<Index>(hypotheses, 1));
  const ef::RowOffsets key_rows = ef::RowOffsets::from_lengths(std::vector<Index>(hypotheses, n));
  Matrix<float> out(hypotheses, width), sums(hypotheses, heads);
  ef::AttentionOptions listed{.heads = heads, .query_rows = query_rows, .key_rows = key_rows}, paged = listed;
  listed.key_index = index;
  paged.key_pages = ef::KeyPages{page_size, pages};
  ef::bench::run_compared(
      state,
      [&] {
        ef::attention_forward<float>({q, k, v}, ef::Unmasked{}, listed, {out, sums});
      },
      [&] {
        ef::attention_forward<float>({q, k, v}, ef::Unmasked{}, paged, {out, sums});
      });
}
BENCHMARK(hypotheses_in_pages)
    ->ArgNames({"n", "page_size"})
    ->ArgsProduct({{5, 15, 25, 50, 100, 400}, {8, 16, 32, 64, 128}})
    ->MinTime(0.1)
    ->UseManualTime()
    ->Unit(benchmark::kMicrosecond);

/// Decodes 32 sentences of 25 tokens for 25 steps, with five hypotheses each. Hypotheses branch and are dropped at
/// random. The model is the paper's base model with 8000 tokens. Reports the counters `hypotheses` (extended by one
/// token, per second) and `pages` (of the target's cache).
void beam_steps(benchmark::State& state) {
  const Index sentences = 32, beam = 5, steps = 25, page_size = state.range(0);
  ef::Rng rng(1);
  ef::TransformerOptions options = ef::TransformerOptions::base();
  options.source_vocabulary_size = options.target_vocabulary_size = 8000;
  const ef::Transformer<float> model(options, rng);
  const ef::PackedWeights<float> packed(model);
  std::vector<std::vector<ef::Token>> sources(static_cast<std::size_t>(sentences), std::vector<ef::Token>(25));
  for (std::vector<ef::Token>& source : sources)
    for (ef::Token& token : source) token = static_cast<ef::Token>(rng.randint(8000));
  const ef::Tokens source = ef::Tokens::of(sources);
  std::vector<Index> parents(static_cast<std::size_t>(sentences * beam));
  const std::vector<ef::Token> tokens(parents.size(), 5);
  double seconds = 0, decoded = 0, pages = 0;
  for (auto _ : state) {
    ef::TransformerState<float> step(model, source, {.packed = &packed}, {.page_size = page_size});
    double run = 0;
    for (Index t = 0; t < steps; ++t) {
      for (std::size_t i = 0; i < parents.size(); ++i)
        parents[i] = static_cast<Index>(i) / beam * (t == 0 ? 1 : beam) + (t == 0 ? 0 : rng.randint(beam));
      run += ef::bench::seconds_of([&] { benchmark::DoNotOptimize(step(parents, tokens).data()); });
    }
    state.SetIterationTime(run);
    seconds += run;
    decoded += static_cast<double>(steps * sentences * beam);
    pages = static_cast<double>(step.target_cache().table().pages());
  }
  state.counters["hypotheses"] = decoded / seconds;
  state.counters["pages"] = pages;
}
BENCHMARK(beam_steps)
    ->ArgNames({"page_size"})
    ->Arg(8)
    ->Arg(16)
    ->Arg(32)
    ->Arg(256)
    ->Iterations(3)
    ->UseManualTime()
    ->Unit(benchmark::kMillisecond);

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
