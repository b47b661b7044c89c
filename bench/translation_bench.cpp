// Benchmarks translation: beam search over the base model of Vaswani et al. 2017 (8,000 tokens, untied output), with
// sentences of 25 tokens that become translations of 30 tokens. One thread.
//
//   translation_bench                  runs the benchmarks
//   translation_bench --save FOLDER    writes the model, the sentences and their translations, for compare.py
//
// The weights are random. So the time does not depend on training, but translations mean nothing.
#include <cstdio>
#include <cstring>
#include <exception>
#include <filesystem>
#include <string>
#include <vector>

#include "eigenformer/decode/beam_search.hpp"
#include "eigenformer/io/model_folder.hpp"
#include "eigenformer/models/transformer_state.hpp"
#include "support/bandwidth.hpp"

namespace {

namespace ef = eigenformer;
using ef::Index;

constexpr Index vocabulary_size = 8000, source_length = 25, target_length = 30, max_sentences = 32;

const ef::Transformer<float>& base_model() {
  static const ef::Transformer<float> model = [] {
    ef::TransformerOptions options = ef::TransformerOptions::base();
    options.source_vocabulary_size = options.target_vocabulary_size = vocabulary_size;
    options.tie_output = false;  // a random model with a tied output repeats one token
    ef::Rng rng(1);
    return ef::Transformer<float>(options, rng);
  }();
  return model;
}

std::vector<std::vector<ef::Token>> sentences(Index count) {
  ef::Rng rng(2);
  std::vector<std::vector<ef::Token>> result(static_cast<std::size_t>(count), std::vector<ef::Token>(source_length));
  for (std::vector<ef::Token>& sentence : result) {
    for (ef::Token& token : sentence) token = static_cast<ef::Token>(3 + rng.randint(vocabulary_size - 3));
    sentence.back() = ef::Vocabulary::end;
  }
  return result;
}

/// Returns the tokens of the best translation of each sentence. All have the same length, with every beam size.
std::vector<std::vector<ef::Token>> translate(const std::vector<std::vector<ef::Token>>& sources, Index beam_size,
                                              const ef::Context<float>& context) {
  const ef::DecodingOptions options{.beam_size = beam_size,
                                    .max_decoding_length = target_length,
                                    .min_decoding_length = target_length,
                                    .max_batch_size = max_sentences};
  std::vector<std::vector<ef::Token>> result;
  for (auto& hypotheses : ef::beam_search(base_model(), ef::Tokens::of(sources), options, context))
    result.push_back(hypotheses.front().tokens);
  return result;
}

/// Returns the bytes of weights that translating one sentence must read: the encoder's once, the decoder's and the
/// output layer's in every step.
double weight_bytes(ef::WeightType type) {
  const ef::TransformerOptions& options = base_model().options;
  const double square = static_cast<double>(options.layer.width * options.layer.width);
  const double feed_forward = 2 * static_cast<double>(options.layer.width * options.layer.dim_feedforward);
  const double encoder = static_cast<double>(options.num_encoder_layers) * (4 * square + feed_forward);
  const double memory = static_cast<double>(options.num_decoder_layers) * 2 * square;  // keys and values
  const double decoder = static_cast<double>(options.num_decoder_layers) * (6 * square + feed_forward);
  const double output = static_cast<double>(vocabulary_size * options.layer.width);
  const double bytes = type == ef::WeightType::float32 ? 4 : type == ef::WeightType::bfloat16 ? 2 : 1;
  return bytes * (encoder + memory + target_length * (decoder + output));
}

/// Benchmarks a beam search. Counters:
///
///   tokens_per_second   target tokens per second
///   bandwidth           only at batch 1: bytes of weights read per second, over one thread's rate of reading memory
///
/// At batch 1, reading the weights once in every step should take almost all of the time.
void decode(benchmark::State& state) {
  const Index batch = state.range(0), beam_size = state.range(1);
  const auto type = static_cast<ef::WeightType>(state.range(2));
  const ef::PackedWeights<float> packed(base_model(), type);
  const std::vector<float> memory(packed.bytes() / sizeof(float));
  const auto sources = sentences(batch);
  ef::Workspace workspace;  // keeps its memory from call to call, as CTranslate2's translator does
  const ef::Context<float> context{.workspace = &workspace, .packed = &packed};
  const ef::bench::Rates rates = ef::bench::run_in_windows(
      state, weight_bytes(type), [&] { benchmark::DoNotOptimize(translate(sources, beam_size, context).data()); },
      [&] { return ef::bench::read_bandwidth({memory}); });
  state.counters["tokens_per_second"] = static_cast<double>(batch * target_length) * rates.reached / weight_bytes(type);
  if (batch == 1) state.counters["bandwidth"] = rates.share;
}

void save_lines(const std::filesystem::path& path, const std::vector<std::vector<ef::Token>>& lines) {
  std::string text;
  for (const std::vector<ef::Token>& line : lines) {
    for (const ef::Token token : line) text += std::to_string(token) + ' ';
    text.back() = '\n';
  }
  ef::write_file(path, text);
}

void save_all(const std::filesystem::path& folder) {
  const ef::PackedWeights<float> packed(base_model());
  const auto sources = sentences(max_sentences);
  ef::save(folder, base_model());
  save_lines(folder / "source.txt", sources);
  for (const Index beam_size : {1, 5})
    save_lines(folder / ("beam_" + std::to_string(beam_size) + ".txt"),
               translate(sources, beam_size, {.packed = &packed}));
}

BENCHMARK(decode)
    ->ArgNames({"batch", "beam", "weights"})  // weights: a WeightType
    ->ArgsProduct({{1, 32}, {1, 5}, {0, 1, 2}})
    ->MinTime(1)
    ->UseManualTime()
    ->Unit(benchmark::kMillisecond);

}  // namespace

int main(int count, char** arguments) {
  if (count == 3 && std::strcmp(arguments[1], "--save") == 0) {
    try {
      save_all(arguments[2]);
    } catch (const std::exception& error) {
      std::fprintf(stderr, "translation_bench: %s\n", error.what());
      return 1;
    }
    return 0;
  }
  benchmark::Initialize(&count, arguments);
  if (benchmark::ReportUnrecognizedArguments(count, arguments)) return 1;
  benchmark::RunSpecifiedBenchmarks();
}
