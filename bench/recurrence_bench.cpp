// Benchmarks the recurrent part of recurrent layers over a batch of sequences. The projection of the input is not
// timed. One thread, float.
#include "eigenformer/kernels/recurrence.hpp"

#include "support/counters.hpp"

namespace {

namespace ef = eigenformer;
using ef::Index;
using ef::Matrix;

struct Layer {
  explicit Layer(const benchmark::State& state)
      : cell(static_cast<ef::RecurrentCell>(state.range(0))),
        hidden(state.range(3)),
        rows(
            ef::RowOffsets::from_lengths(std::vector<Index>(static_cast<std::size_t>(state.range(1)), state.range(2)))),
        gates(Matrix<float>::Random(rows.rows(), ef::gate_count(cell) * hidden)),
        weight(Matrix<float>::Random(gates.cols(), hidden) / std::sqrt(static_cast<float>(hidden))),
        bias(Matrix<float>::Random(1, gates.cols())),
        states(rows.rows(), ef::state_count(cell) * hidden),
        kept(rows.rows(), ef::saved_count(cell) * hidden) {}

  ef::Recurrence<float> recurrence() const { return {cell, weight, bias, none, rows}; }
  /// Returns the floating-point operations of the products with the recurrent weight, which take most of the time.
  double operations() const { return 2.0 * static_cast<double>(gates.size()) * static_cast<double>(hidden); }

  ef::RecurrentCell cell;
  Index hidden;
  ef::RowOffsets rows;
  Matrix<float> gates, weight, bias, none, states, kept;
};

void recurrent_forward(benchmark::State& state) {
  Layer layer(state);
  ef::bench::run_counted<float>(state, layer.operations(), [&] {
    ef::recurrent_forward<float>(layer.recurrence(), layer.gates, layer.states, layer.kept);
  });
}

/// Counts two products of the forward's size: one for the gradients of the states, one for the gradient of the weight.
void recurrent_backward(benchmark::State& state) {
  Layer layer(state);
  ef::recurrent_forward<float>(layer.recurrence(), layer.gates, layer.states, layer.kept);
  const Matrix<float> d_states = Matrix<float>::Random(layer.states.rows(), layer.states.cols());
  Matrix<float> d_gates(layer.gates.rows(), layer.gates.cols()), d_weight(layer.weight.rows(), layer.weight.cols());
  Matrix<float> d_bias(1, layer.gates.cols()), none;
  ef::bench::run_counted<float>(state, 2 * layer.operations(), [&] {
    ef::recurrent_backward<float>(layer.recurrence(), {layer.states, layer.kept}, d_states,
                                  {d_gates, d_weight, d_bias, none});
  });
}

void sizes(benchmark::internal::Benchmark* b) {
  b->ArgNames({"cell", "sequences", "steps", "hidden"})->MinTime(0.1)->UseManualTime()->Unit(benchmark::kMicrosecond);
  for (const ef::RecurrentCell cell : {ef::RecurrentCell::rnn, ef::RecurrentCell::gru, ef::RecurrentCell::lstm})
    for (const Index hidden : {128, 256, 512})
      for (const Index sequences : {1, 16, 64}) b->Args({static_cast<Index>(cell), sequences, 30, hidden});
}
BENCHMARK(recurrent_forward)->Apply(sizes);
BENCHMARK(recurrent_backward)->Apply(sizes);

}  // namespace

BENCHMARK_MAIN();
