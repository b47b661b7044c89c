// Benchmarks one update of a Transformer: forward, backward, clipping and Adam. 4 + 4 layers, a vocabulary of 8,000,
// 4,096 target tokens in sentences of Multi30k's lengths, dropout 0.1, label smoothing 0.1. Float, or with bfloat16
// products.
//
// The counters:
//
//   tokens_per_second   target tokens per second
//   peak_flops          the peak of all threads, measured between the updates
//   mfu                 the model FLOP utilisation: the operations of training_flops() per second, over the peak of
//   float
#include <cmath>
#include <numeric>

#include "eigenformer/core/thread_pool.hpp"
#include "eigenformer/models/training_flops.hpp"
#include "eigenformer/train/trainer.hpp"
#include "support/counters.hpp"

namespace {

namespace ef = eigenformer;
using ef::Index;

constexpr Index vocabulary_size = 8000, target_tokens = 4096;

/// Returns a sentence of random tokens that follow Zipf's law: the frequency of token i is about proportional to
/// 1 / (i + 1).
std::vector<ef::Token> sentence(Index length, ef::Rng& rng) {
  std::vector<ef::Token> tokens(static_cast<std::size_t>(length));
  for (ef::Token& token : tokens) token = static_cast<ef::Token>(std::pow(vocabulary_size, rng.uniform())) - 1;
  return tokens;
}

/// Returns sentence pairs with `target_tokens` target tokens in total. As in Multi30k, sentences have 14 subwords on
/// average, with a standard deviation of 5, here limited to 4 to 40.
ef::TranslationBatch multi30k_batch() {
  ef::Rng rng(1);
  std::vector<std::vector<ef::Token>> sources, targets;
  const auto limited = [](double length) { return std::min<Index>(40, std::max<Index>(4, std::lround(length))); };
  for (Index left = target_tokens; left > 0;) {
    const double length = 14 + 5 * rng.normal();
    const Index target = std::min<Index>(limited(length) + 1, left);  // with the end token
    sources.push_back(sentence(limited(length + 2 * rng.normal()), rng));
    targets.push_back(sentence(target - 1, rng));
    left -= target;
  }
  std::vector<Index> all(sources.size());
  std::iota(all.begin(), all.end(), 0);
  return ef::translation_batch(sources, targets, all);
}

/// Returns the sum of the peaks of all threads, measured at the same time.
double peak_flops_of(ef::ThreadPool& pool) {
  std::vector<double> peaks(static_cast<std::size_t>(pool.size()));
  pool.run(pool.size(), [&](Index i) { peaks[static_cast<std::size_t>(i)] = ef::bench::peak_flops<float>(); });
  return std::accumulate(peaks.begin(), peaks.end(), 0.0);
}

void training_step(benchmark::State& state) {
  const Index width = state.range(0);
  ef::ThreadPool pool(static_cast<int>(state.range(1)));
  ef::Rng rng(1);
  ef::Transformer<float> model({.source_vocabulary_size = vocabulary_size,
                                .target_vocabulary_size = vocabulary_size,
                                .num_encoder_layers = 4,
                                .num_decoder_layers = 4,
                                .layer = {.width = width, .heads = width == 512 ? 8 : 4, .dim_feedforward = 4 * width}},
                               rng);
  const ef::TranslationBatch batch = multi30k_batch();
  ef::Adam<float> adam;
  ef::UpdateMemory<float> memory;
  const auto loss = [&](const ef::Context<float>& context, const ef::TranslationBatch& of) {
    const Index items = static_cast<Index>(of.next.size());
    return ef::BatchLoss<float>{model.loss(context, of, {.label_smoothing = 0.1, .reduction = ef::Reduction::sum}),
                                items};
  };
  const auto precision = static_cast<ef::Precision>(state.range(2));
  const ef::TrainingOptions options{.seed = 1, .threads = &pool, .precision = precision};
  const double flops = ef::training_flops(model, batch);
  const ef::bench::Rates rates = ef::bench::run_in_windows(
      state, flops,
      [&] {
        ef::make_update(
            model, adam, memory, [&] { return batch; }, loss, options);
      },
      [&] { return peak_flops_of(pool); });
  state.counters["mfu"] = rates.share;
  state.counters["tokens_per_second"] = rates.reached / flops * target_tokens;
  state.counters["peak_flops"] = rates.possible;
}

}  // namespace

BENCHMARK(training_step)
    ->ArgNames({"width", "threads", "precision"})  // precision: an ef::Precision
    ->ArgsProduct({{128, 256, 512}, {1, 2}, {0, 1}})
    ->MinTime(2)
    ->UseManualTime()
    ->Unit(benchmark::kMillisecond);

BENCHMARK_MAIN();
