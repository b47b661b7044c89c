// Benchmarks products of x [m x k] and a weight [n x k], as in every linear layer, against Eigen's product. With one
// row, the reference is the time to read the weight. One thread, float.
#include "eigenformer/kernels/matmul.hpp"

#include "support/bandwidth.hpp"

namespace {

namespace ef = eigenformer;
using ef::Matrix;
using ef::bench::run_counted;

struct Inputs {
  explicit Inputs(const benchmark::State& state)
      : x(Matrix<float>::Random(state.range(0), state.range(1))),
        weight(Matrix<float>::Random(state.range(2), state.range(1))),
        y(state.range(0), state.range(2)),
        operations(2.0 * static_cast<double>(x.size()) * static_cast<double>(weight.rows())) {}
  Matrix<float> x, weight, y;
  double operations;
};

/// Inference: the weight is packed once, before the timing.
void dense(benchmark::State& state) {
  Inputs in(state);
  const Matrix<float> no_bias;
  const ef::PackedWeight<float> packed(in.weight);
  run_counted<float>(state, in.operations, [&] { ef::linear_forward<float>(in.x, packed, no_bias, in.y); });
}
/// Decoding: one row, bound by reading the weight.
void dense_one_row(benchmark::State& state) {
  Inputs in(state);
  const Matrix<float> no_bias;
  const ef::PackedWeight<float> packed(in.weight);
  ef::bench::run_reading(state, {packed.values()}, [&] { ef::linear_forward<float>(in.x, packed, no_bias, in.y); });
}
/// Training: the weight changes with every update, so it is not packed in advance.
void dense_unpacked(benchmark::State& state) {
  Inputs in(state);
  const Matrix<float> no_bias;
  run_counted<float>(state, in.operations, [&] { ef::linear_forward<float>(in.x, in.weight, no_bias, in.y); });
}
void dense_backward_weight(benchmark::State& state) {
  Inputs in(state);
  Matrix<float> d_weight(in.weight.rows(), in.weight.cols());
  run_counted<float>(state, in.operations, [&] { ef::linear_backward_weight<float>(in.x, in.y, d_weight); });
}
void eigen(benchmark::State& state) {
  Inputs in(state);
  run_counted<float>(state, in.operations, [&] { in.y.noalias() = in.x * in.weight.transpose(); });
}

void sizes(benchmark::internal::Benchmark* b) {
  b->ArgNames({"m", "k", "n"})->MinTime(0.1)->UseManualTime()->Unit(benchmark::kMicrosecond);
  for (const int m : {1, 2, 4, 8, 16, 32, 64, 256, 1024, 4096}) b->Args({m, 512, 512});
  b->Args({2048, 128, 128})->Args({2048, 128, 4096});
}
BENCHMARK(dense)->Apply(sizes);
BENCHMARK(dense_one_row)
    ->ArgNames({"m", "k", "n"})
    ->ArgsProduct({{1}, {512, 2048}, {512, 2048}})
    ->MinTime(0.1)
    ->UseManualTime()
    ->Unit(benchmark::kMicrosecond);
BENCHMARK(dense_unpacked)->Apply(sizes);
BENCHMARK(dense_backward_weight)->Apply(sizes);
BENCHMARK(eigen)->Apply(sizes);

}  // namespace

BENCHMARK_MAIN();
