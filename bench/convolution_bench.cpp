// Benchmarks convolutions over a batch of sentences against one product of already unfolded rows. One thread, float.
#include "eigenformer/kernels/convolution.hpp"

#include "support/counters.hpp"

namespace {

namespace ef = eigenformer;
using ef::Index;
using ef::Matrix;

struct Layer {
  explicit Layer(const benchmark::State& state)
      : window{.kernel = state.range(0)},
        rows(ef::RowOffsets::from_lengths(std::vector<Index>(64, state.range(1)))),
        x(Matrix<float>::Random(rows.rows(), state.range(2))),
        weight(Matrix<float>::Random(2 * x.cols(), window.kernel * x.cols())),  // twice as wide, as for a gate
        y(Matrix<float>::Random(x.rows(), weight.rows())),
        operations(2.0 * static_cast<double>(x.rows()) * static_cast<double>(weight.size())) {}

  ef::ConvolutionWindow window;
  ef::RowOffsets rows;
  Matrix<float> x, weight, no_bias, y;
  double operations;
};

void convolution_forward(benchmark::State& state) {
  Layer layer(state);
  ef::bench::run_counted<float>(state, layer.operations, [&] {
    ef::convolution_forward<float>({layer.x, layer.weight, layer.no_bias}, layer.rows, layer.window, layer.y);
  });
}
void convolution_backward_input(benchmark::State& state) {
  Layer layer(state);
  ef::bench::run_counted<float>(state, layer.operations, [&] {
    ef::convolution_backward_input<float>(layer.weight, layer.y, layer.rows, layer.window, layer.x);
  });
}
void convolution_backward_weight(benchmark::State& state) {
  Layer layer(state);
  ef::bench::run_counted<float>(state, layer.operations, [&] {
    ef::convolution_backward_weight<float>(layer.x, layer.y, layer.rows, layer.window, layer.weight);
  });
}
void unfolded(benchmark::State& state) {
  Layer layer(state);
  const Matrix<float> unfolded = Matrix<float>::Random(layer.x.rows(), layer.weight.cols());
  ef::bench::run_counted<float>(state, layer.operations,
                                [&] { ef::linear_forward<float>(unfolded, layer.weight, layer.no_bias, layer.y); });
}

void sizes(benchmark::internal::Benchmark* b) {
  b->ArgNames({"kernel", "length", "width"})->MinTime(0.1)->UseManualTime()->Unit(benchmark::kMicrosecond);
  for (const int width : {64, 256, 512})
    for (const int kernel : {3, 7})
      for (const int length : {8, 30}) b->Args({kernel, length, width});
}
BENCHMARK(convolution_forward)->Apply(sizes);
BENCHMARK(convolution_backward_input)->Apply(sizes);
BENCHMARK(convolution_backward_weight)->Apply(sizes);
BENCHMARK(unfolded)->Apply(sizes);

}  // namespace

BENCHMARK_MAIN();
