// Benchmarks rotary position embeddings, their scaling, and norms of queries and keys. One thread, float. The counter
// `speed` is the speed relative to a baseline; the two are timed alternately. The benchmarks and their baselines:
//
//   rotary, rotary_backward   rotates a matrix; baseline: copies it
//   table                     makes a table of scaled frequencies; baseline: of unscaled frequencies
//   head_norm                 normalises the heads of a matrix; baseline: copies the matrix
//   self_attention            runs a layer with rotary positions or norms; baseline: the layer without
#include <numeric>

#include "eigenformer/layers/multi_head_attention.hpp"
#include "support/counters.hpp"

namespace {

namespace ef = eigenformer;
using ef::Index;
using ef::Matrix;
using ef::bench::run_compared;

constexpr Index heads = 8, head_width = 64, width = heads * head_width;

/// Returns a scaling of this type to four times the trained length.
ef::RotaryScaling scaling_of(ef::RopeType type) {
  return {.rope_type = type,
          .factor = 4,
          .original_max_position_embeddings = 4096,
          .short_factor = std::vector<double>(head_width / 2, 1.1),
          .long_factor = std::vector<double>(head_width / 2, 2.5)};
}

void rotary(benchmark::State& state, ef::RotaryPairs pairs, bool backward) {
  const Index n = state.range(0);
  const Matrix<float> x = Matrix<float>::Random(n, width);
  Matrix<float> copy(n, width), y(n, width);
  const ef::RotaryTable<float> table = ef::rotary_table<float>(n, head_width, 10000, 0, scaling_of(ef::RopeType::yarn));
  std::vector<Index> positions(static_cast<std::size_t>(n));
  std::iota(positions.begin(), positions.end(), 0);
  const ef::RotaryOptions options{.heads = heads, .pairs = pairs};
  run_compared(
      state, [&] { copy = x; },
      [&] {
        if (backward)
          ef::rotary_backward<float>(x, table, positions, options, y);
        else
          ef::rotary_forward<float>(x, table, positions, options, y);
      });
}

void table(benchmark::State& state, ef::RopeType type) {
  const Index n = state.range(0);
  const auto make = [&](const ef::RotaryScaling& scaling) {
    const ef::RotaryTable<float> made = ef::rotary_table<float>(n, head_width, 10000, 0, scaling);
    benchmark::DoNotOptimize(made.cos.data());
    benchmark::DoNotOptimize(made.sin.data());
    benchmark::ClobberMemory();
  };
  const ef::RotaryScaling unscaled, scaling = scaling_of(type);
  run_compared(
      state, [&] { make(unscaled); }, [&] { make(scaling); });
}

void head_norm(benchmark::State& state, ef::QueryKeyNorm kind) {
  const Index n = state.range(0);
  const ef::HeadNorm<float> norm(kind, head_width);
  const ef::Variable<float> x = Matrix<float>::Random(n, width);
  ef::Workspace workspace;
  const ef::Context<float> context{.workspace = &workspace};
  Matrix<float> copy(n, width);
  run_compared(
      state, [&] { copy = x.value(); }, [&] { benchmark::DoNotOptimize(norm(context, x, heads).value().data()); });
}

/// Runs a layer on one sequence. If `backward`, also computes its gradients.
struct Attention {
  Attention(ef::QueryKeyNorm norm, ef::PositionEncoding encoding, ef::Rng rng)
      : layer({.width = width, .heads = heads, .qk_norm = norm}, rng),
        positions({.encoding = encoding,
                   .heads = heads,
                   .head_width = head_width,
                   .rope_scaling = scaling_of(ef::RopeType::llama3)},
                  rng) {}

  void run(const ef::Variable<float>& x, bool backward) {
    ef::Context<float> context{.workspace = &workspace};
    if (backward) context = {.tape = &tape};
    const ef::Variable<float> y = layer(context, x, {}, ef::Causal{}, positions);
    benchmark::DoNotOptimize(y.value().data());
    if (backward) tape.backward(ef::sum(context, y));
  }

  ef::MultiHeadAttention<float> layer;
  ef::AttentionPositions<float> positions;
  ef::Workspace workspace;
  ef::Tape<float> tape;
};

void self_attention(benchmark::State& state, ef::QueryKeyNorm norm, ef::PositionEncoding encoding) {
  const ef::Variable<float> x = Matrix<float>::Random(state.range(0), width);
  const bool backward = state.range(1) != 0;
  Attention plain(ef::QueryKeyNorm::none, ef::PositionEncoding::none, ef::Rng(1));
  Attention tested(norm, encoding, ef::Rng(1));
  run_compared(
      state, [&] { plain.run(x, backward); }, [&] { tested.run(x, backward); });
}

template <class... Arguments>
benchmark::internal::Benchmark* add(const std::string& name, void (*run)(benchmark::State&, Arguments...),
                                    std::type_identity_t<Arguments>... arguments) {
  return benchmark::RegisterBenchmark(name.c_str(), [=](benchmark::State& state) { run(state, arguments...); })
      ->UseManualTime()
      ->Unit(benchmark::kMicrosecond)
      ->MinTime(0.1);
}

void add_all() {
  for (const auto& [name, pairs] :
       {std::pair("halves", ef::RotaryPairs::halves), std::pair("interleaved", ef::RotaryPairs::interleaved)})
    for (const bool backward : {false, true})
      add(std::string(backward ? "rotary_backward/" : "rotary/") + name, rotary, pairs, backward)
          ->ArgName("n")
          ->Arg(64)
          ->Arg(2048);
  for (const ef::RopeType type : ef::values_of<ef::RopeType>())
    if (type != ef::RopeType::unscaled)
      add("table/" + std::string(ef::to_string(type)), table, type)->ArgName("n")->Arg(2048);
  for (const ef::QueryKeyNorm norm : {ef::QueryKeyNorm::rms_norm, ef::QueryKeyNorm::layer_norm}) {
    const std::string name(ef::to_string(norm));
    add("head_norm/" + name, head_norm, norm)->ArgName("n")->Arg(64)->Arg(2048);
    add("self_attention/" + name, self_attention, norm, ef::PositionEncoding::none)
        ->ArgNames({"n", "backward"})
        ->Args({512, 0})
        ->Args({512, 1});
  }
  add("self_attention/rotary", self_attention, ef::QueryKeyNorm::none, ef::PositionEncoding::rotary)
      ->ArgNames({"n", "backward"})
      ->Args({512, 0})
      ->Args({512, 1});
}

}  // namespace

int main(int argc, char** argv) {
  add_all();
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
