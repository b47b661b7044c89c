// Compares tensors with what they are built on: element-wise functions and reductions with Eigen's arrays, and einsum
// with matmul. Also compares attention on [batch x heads x tokens x width] by two threads with one thread.
//
// The counter `speed` is the time of Eigen's arrays, of matmul or of one thread, divided by ours: above 1, ours is
// faster.
#include "eigenformer/core/thread_pool.hpp"
#include "eigenformer/kernels/attention_backward.hpp"
#include "eigenformer/tensors/creation.hpp"
#include "eigenformer/tensors/einsum.hpp"
#include "support/counters.hpp"

namespace {

namespace ef = eigenformer;
using ef::Index;
using ef::Tensor;
using ef::bench::run_compared;

using Array = Eigen::Array<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

void add(benchmark::State& state) {
  const Index n = state.range(0);
  ef::Rng rng(1);
  const Tensor<float> a = ef::randn<float>({n, 512}, rng), b = ef::randn<float>({n, 512}, rng);
  Tensor<float> y({n, 512});
  const Array x = a.matrix().array(), z = b.matrix().array();
  Array sum(n, 512);
  run_compared(
      state, [&] { sum = x + z * 2.0F; }, [&] { y.array() = a + b * 2.0F; });
}

void add_row(benchmark::State& state) {
  const Index n = state.range(0);
  ef::Rng rng(1);
  const Tensor<float> a = ef::randn<float>({n, 512}, rng), b = ef::randn<float>({512}, rng);
  Tensor<float> y({n, 512});
  const Array x = a.matrix().array();
  const Eigen::Array<float, 1, Eigen::Dynamic> row = b.row().array();
  Array sum(n, 512);
  run_compared(
      state, [&] { sum = x.rowwise() + row; }, [&] { y.array() = a + b; });
}

void scale_rows(benchmark::State& state) {
  const Index n = state.range(0);
  ef::Rng rng(1);
  const Tensor<float> a = ef::randn<float>({n, 512}, rng), b = ef::randn<float>({n, 1}, rng);
  Tensor<float> y({n, 512});
  const Array x = a.matrix().array();
  const Eigen::Array<float, Eigen::Dynamic, 1> column = b.matrix().array();
  Array product(n, 512);
  run_compared(
      state, [&] { product = x.colwise() * column; }, [&] { y.array() = a * b; });
}

void exponential(benchmark::State& state) {
  const Index n = state.range(0);
  ef::Rng rng(1);
  const Tensor<float> a = ef::randn<float>({n, 512}, rng);
  Tensor<float> y({n, 512});
  const Array x = a.matrix().array();
  Array e(n, 512);
  run_compared(
      state, [&] { e = x.exp(); }, [&] { y.array() = exp(a); });
}

void sum_of_rows(benchmark::State& state) {
  const Index n = state.range(0);
  ef::Rng rng(1);
  const Tensor<float> a = ef::randn<float>({n, 512}, rng);
  const Array x = a.matrix().array();
  Eigen::Array<float, Eigen::Dynamic, 1> sums(n);
  run_compared(
      state, [&] { sums = x.rowwise().sum(); }, [&] { benchmark::DoNotOptimize(sum(a, 1).data()); });
}

/// einsum of tensors of these shapes, beside the product of matrices [m x k] and [k x n].
void einsum(benchmark::State& state, const char* equation, const ef::Sizes& a_shape, const ef::Sizes& b_shape) {
  ef::Rng rng(1);
  const Tensor<float> a = ef::randn<float>(a_shape, rng), b = ef::randn<float>(b_shape, rng);
  const bool batched = a_shape.rank() == 4;
  const Tensor<float> left = batched ? a : Tensor<float>(a.reshape({-1, a.dimension(-1)}));
  const Tensor<float> right(batched ? b.transpose() : b.view());
  run_compared(
      state, [&] { benchmark::DoNotOptimize(matmul(left, right).data()); },
      [&] { benchmark::DoNotOptimize(ef::einsum(equation, a, b).data()); });
}

/// Two threads against one.
void attention_two_threads(benchmark::State& state) {
  ef::Rng rng(1);
  const ef::Sizes shape{32, 8, 128, 64};
  const Tensor<float> q = ef::randn<float>(shape, rng), k = ef::randn<float>(shape, rng),
                      v = ef::randn<float>(shape, rng);
  Tensor<float> out(shape), sums({32, 8, 128}), d_q(shape), d_k(shape), d_v(shape);
  ef::ThreadPool pool(2);
  const bool backward = state.range(0) != 0;
  const auto run = [&](ef::Threads* threads) {
    const ef::AttentionOptions options{.threads = threads};
    if (backward)
      ef::attention_backward<float>({q, k, v}, ef::Unmasked{}, options, {out, sums}, v, {d_q, d_k, d_v});
    else
      ef::attention_forward<float>({q, k, v}, ef::Unmasked{}, options, {out, sums});
  };
  ef::attention_forward<float>({q, k, v}, ef::Unmasked{}, {}, {out, sums});
  run_compared(
      state, [&] { run(nullptr); }, [&] { run(&pool); });
}

}  // namespace

BENCHMARK(add)->ArgName("n")->Arg(64)->Arg(4096)->UseManualTime();
BENCHMARK(add_row)->ArgName("n")->Arg(64)->Arg(4096)->UseManualTime();
BENCHMARK(scale_rows)->ArgName("n")->Arg(64)->Arg(4096)->UseManualTime();
BENCHMARK(exponential)->ArgName("n")->Arg(64)->Arg(4096)->UseManualTime();
BENCHMARK(sum_of_rows)->ArgName("n")->Arg(64)->Arg(4096)->UseManualTime();
BENCHMARK_CAPTURE(einsum, matmul, "ij,jk->ik", ef::Sizes{512, 512}, ef::Sizes{512, 512})->UseManualTime();
BENCHMARK_CAPTURE(einsum, rows, "btd,de->bte", ef::Sizes{16, 64, 256}, ef::Sizes{256, 256})->UseManualTime();
BENCHMARK_CAPTURE(einsum, scores, "bhqd,bhkd->bhqk", ef::Sizes{4, 8, 128, 64}, ef::Sizes{4, 8, 128, 64})
    ->UseManualTime();
BENCHMARK(attention_two_threads)->ArgName("backward")->Arg(0)->Arg(1)->UseManualTime();

BENCHMARK_MAIN();
