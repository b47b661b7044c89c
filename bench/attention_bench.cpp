// Attention over n and d, against the materialised version, and the exponents of both: the paper's O(n^2 d), measured.
// One head, one thread, float.
#include "eigenformer/kernels/attention_backward.hpp"
#include "support/counters.hpp"
#include "support/exponents.hpp"
#include "support/materialised_attention.hpp"

namespace {

namespace ef = eigenformer;
using ef::Index;
using ef::Matrix;
using ef::bench::MaterialisedAttention;
using ef::bench::run_counted;

/// Pairs of query and key that see each other: only these count as work.
double pairs(Index n, bool causal) {
  return causal ? 0.5 * static_cast<double>(n) * static_cast<double>(n + 1)
                : static_cast<double>(n) * static_cast<double>(n);
}

struct Inputs {
  explicit Inputs(const benchmark::State& state)
      : n(state.range(0)),
        d(state.range(1)),
        causal(state.range(2) != 0),
        q(Matrix<float>::Random(n, d)),
        k(Matrix<float>::Random(n, d)),
        v(Matrix<float>::Random(n, d)),
        d_out(Matrix<float>::Random(n, d)) {}
  Index n, d;
  bool causal;
  Matrix<float> q, k, v, d_out;
};

template <class Score>
void forward(benchmark::State& state, const Inputs& in, const Score& score) {
  Matrix<float> out(in.n, in.d), log_sum_exp(in.n, 1);
  run_counted<float>(state, 4 * pairs(in.n, in.causal) * static_cast<double>(in.d), [&] {
    ef::attention_forward<float>(ef::strided_view(in.q), ef::strided_view(in.k), ef::strided_view(in.v), score, {}, out,
                                 log_sum_exp);
  });
}
void attention_forward(benchmark::State& state) {
  const Inputs in(state);
  if (in.causal)
    forward(state, in, ef::Causal{});
  else
    forward(state, in, ef::Unmasked{});
}

template <class Score>
void backward(benchmark::State& state, const Inputs& in, const Score& score) {
  Matrix<float> out(in.n, in.d), log_sum_exp(in.n, 1), d_q(in.n, in.d), d_k(in.n, in.d), d_v(in.n, in.d);
  const auto q = ef::strided_view(in.q), k = ef::strided_view(in.k), v = ef::strided_view(in.v);
  ef::attention_forward<float>(q, k, v, score, {}, out, log_sum_exp);
  run_counted<float>(state, 10 * pairs(in.n, in.causal) * static_cast<double>(in.d), [&] {
    ef::attention_backward<float>(q, k, v, score, {}, out, log_sum_exp, in.d_out, d_q, d_k, d_v);
  });
}
void attention_backward(benchmark::State& state) {
  const Inputs in(state);
  if (in.causal)
    backward(state, in, ef::Causal{});
  else
    backward(state, in, ef::Unmasked{});
}

void materialised_forward(benchmark::State& state) {
  const Inputs in(state);
  MaterialisedAttention attention;
  run_counted<float>(state, 4 * pairs(in.n, in.causal) * static_cast<double>(in.d),
                     [&] { attention.forward(in.q, in.k, in.v, in.causal); });
}
void materialised_backward(benchmark::State& state) {
  const Inputs in(state);
  MaterialisedAttention attention;
  attention.forward(in.q, in.k, in.v, in.causal);
  // The five products that a fused backward has, less the one that made the weights, which are still there.
  run_counted<float>(state, 8 * pairs(in.n, in.causal) * static_cast<double>(in.d),
                     [&] { attention.backward(in.q, in.k, in.v, in.d_out); });
}

void sizes(benchmark::internal::Benchmark* b) {
  b->ArgNames({"n", "d", "causal"})->MinTime(0.1)->UseManualTime()->Unit(benchmark::kMillisecond);
  for (const int causal : {0, 1})
    for (const int n : {128, 256, 512, 1024, 2048})
      for (const int d : {32, 64, 128}) b->Args({n, d, causal});
}
BENCHMARK(attention_forward)->Apply(sizes);
BENCHMARK(materialised_forward)->Apply(sizes);
BENCHMARK(attention_backward)->Apply(sizes);
BENCHMARK(materialised_backward)->Apply(sizes);

}  // namespace

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  eigenformer::bench::ExponentReporter reporter;
  benchmark::RunSpecifiedBenchmarks(&reporter);
  reporter.print_exponents();
  return 0;
}
