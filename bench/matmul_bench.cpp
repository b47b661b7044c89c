// Benchmarks products of x [m x k] and a weight [n x k], as in every linear layer, against Eigen's product. With one
// row, the reference is the time to read the weight. One thread. Weights are of float, or packed as bfloat16 or int8.
// Products of training take unpacked weights, in float or rounded to bfloat16 together with the other operand.
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
/// Inference with a bfloat16 or int8 weight. The counter `peak` is relative to the peak of float, as in `dense`.
template <ef::WeightType type>
void dense_reduced(benchmark::State& state) {
  Inputs in(state);
  const Matrix<float> no_bias;
  const ef::PackedWeight<float> packed(in.weight, type);
  run_counted<float>(state, in.operations, [&] { ef::linear_forward<float>(in.x, packed, no_bias, in.y); });
}
/// Decoding: one row, bound by reading the weight.
template <ef::WeightType type>
void dense_one_row(benchmark::State& state) {
  Inputs in(state);
  const Matrix<float> no_bias;
  const ef::PackedWeight<float> packed(in.weight, type);
  const std::span<const std::byte> bytes = packed.bytes();
  ef::bench::run_reading(state, {{reinterpret_cast<const float*>(bytes.data()), bytes.size() / sizeof(float)}},
                         [&] { ef::linear_forward<float>(in.x, packed, no_bias, in.y); });
}
/// Training: the weight changes with every update, so it is not packed in advance. The time includes rounding and
/// packing both operands. The counter `peak` is relative to the peak of float.
template <ef::Precision precision>
void dense_unpacked(benchmark::State& state) {
  Inputs in(state);
  const Matrix<float> no_bias;
  run_counted<float>(state, in.operations, [&] {
    ef::linear_forward<float>(in.x, in.weight, no_bias, in.y, {nullptr, precision});
  });
}
template <ef::Precision precision>
void dense_backward_input(benchmark::State& state) {
  Inputs in(state);
  Matrix<float> d_x(in.x.rows(), in.x.cols());
  in.y.setRandom();
  run_counted<float>(state, in.operations, [&] {
    ef::linear_backward_input<float>(in.weight, in.y, d_x, {nullptr, precision});
  });
}
template <ef::Precision precision>
void dense_backward_weight(benchmark::State& state) {
  Inputs in(state);
  Matrix<float> d_weight(in.weight.rows(), in.weight.cols());
  in.y.setRandom();
  run_counted<float>(state, in.operations, [&] {
    ef::linear_backward_weight<float>(in.x, in.y, d_weight, {nullptr, precision});
  });
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
void one_row(benchmark::internal::Benchmark* b) {
  b->ArgNames({"m", "k", "n"})->MinTime(0.1)->UseManualTime()->Unit(benchmark::kMicrosecond);
  b->ArgsProduct({{1}, {512, 2048}, {512, 2048}});
}
BENCHMARK(dense)->Apply(sizes);
BENCHMARK_TEMPLATE(dense_reduced, ef::WeightType::bfloat16)->Apply(sizes);
BENCHMARK_TEMPLATE(dense_reduced, ef::WeightType::int8)->Apply(sizes);
BENCHMARK_TEMPLATE(dense_one_row, ef::WeightType::float32)->Apply(one_row);
BENCHMARK_TEMPLATE(dense_one_row, ef::WeightType::bfloat16)->Apply(one_row);
BENCHMARK_TEMPLATE(dense_one_row, ef::WeightType::int8)->Apply(one_row);
BENCHMARK_TEMPLATE(dense_unpacked, ef::Precision::float32)->Apply(sizes);
BENCHMARK_TEMPLATE(dense_unpacked, ef::Precision::bfloat16)->Apply(sizes);
BENCHMARK_TEMPLATE(dense_backward_input, ef::Precision::float32)->Apply(sizes);
BENCHMARK_TEMPLATE(dense_backward_input, ef::Precision::bfloat16)->Apply(sizes);
BENCHMARK_TEMPLATE(dense_backward_weight, ef::Precision::float32)->Apply(sizes);
BENCHMARK_TEMPLATE(dense_backward_weight, ef::Precision::bfloat16)->Apply(sizes);
BENCHMARK(eigen)->Apply(sizes);

}  // namespace

BENCHMARK_MAIN();
