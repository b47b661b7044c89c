// Benchmarks attention over n and d, with contiguous heads or heads as column blocks, and the materialised baseline.
// Also fits the exponents of n and d, to compare with the paper's O(n^2 d). One head and one thread, except for
// two_threads.
#include "eigenformer/core/thread_pool.hpp"
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

/// Returns the number of query-key pairs that are not masked; only these count as work.
double pairs(Index n, bool causal) {
  return causal ? 0.5 * static_cast<double>(n) * static_cast<double>(n + 1)
                : static_cast<double>(n) * static_cast<double>(n);
}

/// One head of n tokens and width d, as a column block of matrices with `stride` columns.
template <class Scalar>
struct Inputs {
  using Head = Eigen::Block<Matrix<Scalar>>;

  explicit Inputs(const benchmark::State& state)
      : n(state.range(0)), d(state.range(1)), causal(state.range(2) != 0), stride(state.range(3)) {}
  Matrix<Scalar> random_rows() const { return Matrix<Scalar>::Random(n, stride); }
  Head head(Matrix<Scalar>& m) const { return m.block(0, 0, n, d); }

  Index n, d;
  bool causal;
  Index stride;
  Matrix<Scalar> q_rows = random_rows(), k_rows = random_rows(), v_rows = random_rows(), d_out_rows = random_rows();
  Matrix<Scalar> out_rows = random_rows(), d_q_rows = random_rows(), d_k_rows = random_rows(), d_v_rows = random_rows();
  Matrix<Scalar> log_sum_exp = Matrix<Scalar>::Zero(n, 1);
  Head q = head(q_rows), k = head(k_rows), v = head(v_rows), d_out = head(d_out_rows), out = head(out_rows),
       d_q = head(d_q_rows), d_k = head(d_k_rows), d_v = head(d_v_rows);
};

template <class Scalar, class Score>
void call_forward(Inputs<Scalar>& in, const Score& score) {
  ef::attention_forward<Scalar>({ef::strided_view(in.q), ef::strided_view(in.k), ef::strided_view(in.v)}, score, {},
                                {in.out, in.log_sum_exp});
}
template <class Scalar, class Score>
void call_backward(Inputs<Scalar>& in, const Score& score) {
  ef::attention_backward<Scalar>({ef::strided_view(in.q), ef::strided_view(in.k), ef::strided_view(in.v)}, score, {},
                                 {in.out, in.log_sum_exp}, in.d_out, {in.d_q, in.d_k, in.d_v});
}

/// Calls body(score) with Causal or Unmasked.
template <class Body>
void with_score(bool causal, Body body) {
  if (causal)
    body(ef::Causal{});
  else
    body(ef::Unmasked{});
}

template <class Scalar>
void attention_forward(benchmark::State& state) {
  Inputs<Scalar> in(state);
  with_score(in.causal, [&](const auto& score) {
    run_counted<Scalar>(state, 4 * pairs(in.n, in.causal) * static_cast<double>(in.d),
                        [&] { call_forward(in, score); });
  });
}

template <class Scalar>
void attention_backward(benchmark::State& state) {
  Inputs<Scalar> in(state);
  with_score(in.causal, [&](const auto& score) {
    call_forward(in, score);
    run_counted<Scalar>(state, 10 * pairs(in.n, in.causal) * static_cast<double>(in.d),
                        [&] { call_backward(in, score); });
  });
}

/// Benchmarks bfloat16 operands. Counts operations as for float, and compares them with the peak of the matrix unit.
void bfloat16_forward(benchmark::State& state) {
  const Inputs<float> in(state);
  using Rows = Matrix<Eigen::bfloat16>;
  const Rows q = in.q.cast<Eigen::bfloat16>(), k = in.k.cast<Eigen::bfloat16>(), v = in.v.cast<Eigen::bfloat16>();
  Rows out(in.n, in.d);
  Matrix<float> log_sum_exp(in.n, 1);
  with_score(in.causal, [&](const auto& score) {
    run_counted<Eigen::bfloat16>(state, 4 * pairs(in.n, in.causal) * static_cast<double>(in.d), [&] {
      ef::attention_forward<Eigen::bfloat16>({q, k, v}, score, {}, {out, log_sum_exp});
    });
  });
}
/// Benchmarks bfloat16 operands against float. The counter `speed` is the ratio of their speeds.
void bfloat16_against_float(benchmark::State& state) {
  Inputs<float> in(state);
  using Rows = Matrix<Eigen::bfloat16>;
  const Rows q = in.q.cast<Eigen::bfloat16>(), k = in.k.cast<Eigen::bfloat16>(), v = in.v.cast<Eigen::bfloat16>();
  Rows out(in.n, in.d);
  Matrix<float> log_sum_exp(in.n, 1);
  with_score(in.causal, [&](const auto& score) {
    ef::bench::run_compared(
        state, [&] { call_forward(in, score); },
        [&] {
          ef::attention_forward<Eigen::bfloat16>({q, k, v}, score, {}, {out, log_sum_exp});
        });
  });
}

/// Benchmarks the derivative of attention of bfloat16 operands against float. The counter `speed` is the ratio of their
/// speeds.
void bfloat16_backward_against_float(benchmark::State& state) {
  Inputs<float> in(state);
  using Rows = Matrix<Eigen::bfloat16>;
  const auto rounded = [](const auto& m) { return Rows(m.template cast<Eigen::bfloat16>()); };
  const Rows q = rounded(in.q), k = rounded(in.k), v = rounded(in.v), d_out = rounded(in.d_out);
  Rows out(in.n, in.d), d_q(in.n, in.d), d_k(in.n, in.d), d_v(in.n, in.d);
  Matrix<float> log_sum_exp(in.n, 1);
  with_score(in.causal, [&](const auto& score) {
    call_forward(in, score);
    ef::attention_forward<Eigen::bfloat16>({q, k, v}, score, {}, {out, log_sum_exp});
    ef::bench::run_compared(
        state, [&] { call_backward(in, score); },
        [&] {
          ef::attention_backward<Eigen::bfloat16>({q, k, v}, score, {}, {out, log_sum_exp}, d_out, {d_q, d_k, d_v});
        });
  });
}

/// Benchmarks two threads against one, over 8 heads. The counter `speed` is the speed-up.
void two_threads(benchmark::State& state, bool backward) {
  const Index n = state.range(0), d = state.range(1), heads = 8;
  const auto random = [&] { return Matrix<float>(Matrix<float>::Random(n, heads * d)); };
  const Matrix<float> q = random(), k = random(), v = random(), d_out = random();
  Matrix<float> out = random(), d_q = random(), d_k = random(), d_v = random(), log_sum_exp(n, heads);
  const auto q_view = ef::strided_view(q), k_view = ef::strided_view(k), v_view = ef::strided_view(v);
  ef::ThreadPool pool(2);
  const auto call = [&](ef::Threads* threads, bool backward_too) {
    const ef::AttentionOptions options{.heads = heads, .threads = threads};
    if (!backward_too)
      ef::attention_forward<float>({q_view, k_view, v_view}, ef::Unmasked{}, options, {out, log_sum_exp});
    else
      ef::attention_backward<float>({q_view, k_view, v_view}, ef::Unmasked{}, options, {out, log_sum_exp}, d_out,
                                    {d_q, d_k, d_v});
  };
  call(nullptr, false);
  ef::bench::run_compared(
      state, [&] { call(nullptr, backward); }, [&] { call(&pool, backward); });
}
void two_threads_forward(benchmark::State& state) {
  two_threads(state, false);
}
void two_threads_backward(benchmark::State& state) {
  two_threads(state, true);
}

void materialised_forward(benchmark::State& state) {
  Inputs<float> in(state);
  MaterialisedAttention attention;
  run_counted<float>(state, 4 * pairs(in.n, in.causal) * static_cast<double>(in.d),
                     [&] { attention.forward(in.q_rows, in.k_rows, in.v_rows, in.causal); });
}
void materialised_backward(benchmark::State& state) {
  Inputs<float> in(state);
  MaterialisedAttention attention;
  attention.forward(in.q_rows, in.k_rows, in.v_rows, in.causal);
  // Four products; the fused backward has a fifth, which recomputes the weights.
  run_counted<float>(state, 8 * pairs(in.n, in.causal) * static_cast<double>(in.d),
                     [&] { attention.backward(in.q_rows, in.k_rows, in.v_rows, in.d_out_rows); });
}

void contiguous(benchmark::internal::Benchmark* b, int max_tokens) {
  b->ArgNames({"n", "d", "causal", "stride"})->MinTime(0.1)->UseManualTime()->Unit(benchmark::kMillisecond);
  for (const int causal : {0, 1})
    for (int n = 128; n <= max_tokens; n *= 2)
      for (const int d : {32, 64, 128}) b->Args({n, d, causal, d});
}
void all_sizes(benchmark::internal::Benchmark* b) {
  contiguous(b, 16384);
  for (const int causal : {0, 1})  // one of 8 or 16 heads, in rows of 512 or 1024 numbers
    for (const int n : {512, 2048})
      for (const int stride : {512, 1024}) b->Args({n, 64, causal, stride});
}
void small_sizes(benchmark::internal::Benchmark* b) {
  contiguous(b, 2048);
}
BENCHMARK_TEMPLATE(attention_forward, float)->Name("attention_forward")->Apply(all_sizes);
BENCHMARK_TEMPLATE(attention_forward, double)->Name("attention_forward_double")->Apply(small_sizes);
void sizes_of_16_bits(benchmark::internal::Benchmark* b) {
  b->ArgNames({"n", "d", "causal", "stride"})->MinTime(0.1)->UseManualTime()->Unit(benchmark::kMillisecond);
  for (const int causal : {0, 1})
    for (const int n : {32, 128, 512, 2048, 8192})
      for (const int d : {64, 128}) b->Args({n, d, causal, d});
}
BENCHMARK(bfloat16_forward)->Apply(sizes_of_16_bits);
BENCHMARK(bfloat16_against_float)->Apply(sizes_of_16_bits);
BENCHMARK(bfloat16_backward_against_float)->Apply(sizes_of_16_bits);
BENCHMARK(materialised_forward)->Apply(small_sizes);
BENCHMARK_TEMPLATE(attention_backward, float)->Name("attention_backward")->Apply(all_sizes);
BENCHMARK_TEMPLATE(attention_backward, double)->Name("attention_backward_double")->Apply(small_sizes);
BENCHMARK(materialised_backward)->Apply(small_sizes);
void for_threads(benchmark::internal::Benchmark* b) {
  b->ArgNames({"n", "d"})->Args({512, 64})->Args({2048, 64})->UseManualTime()->Unit(benchmark::kMillisecond);
}
BENCHMARK(two_threads_forward)->Apply(for_threads);
BENCHMARK(two_threads_backward)->Apply(for_threads);

}  // namespace

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  eigenformer::bench::ExponentReporter reporter;
  benchmark::RunSpecifiedBenchmarks(&reporter);
  reporter.print_exponents();
  return 0;
}
