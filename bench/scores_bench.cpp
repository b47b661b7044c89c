// Benchmarks the cost of each score function. The counter `speed` is the speed relative to a plain kernel; the two are
// timed alternately. The plain kernel is Causal for combinations with Causal, else Unmasked. One head, one thread,
// float.
#include "eigenformer/kernels/scores.hpp"

#include "eigenformer/kernels/attention_backward.hpp"
#include "support/counters.hpp"

namespace {

namespace ef = eigenformer;
using ef::Index;
using ef::Matrix;

struct Inputs {
  explicit Inputs(const benchmark::State& state)
      : n(state.range(0)),
        d(state.range(1)),
        q(Matrix<float>::Random(n, d)),
        k(Matrix<float>::Random(n, d)),
        v(Matrix<float>::Random(n, d)),
        d_out(Matrix<float>::Random(n, d)),
        out(n, d),
        log_sum_exp(n, 1),
        d_q(n, d),
        d_k(n, d),
        d_v(n, d) {}

  template <class Score>
  void forward(const Score& score, const ef::AttentionOptions& options = {}) {
    ef::attention_forward<float>({ef::strided_view(q), ef::strided_view(k), ef::strided_view(v)}, score, options,
                                 {out, log_sum_exp});
  }
  template <class Score>
  void backward(const Score& score, const ef::AttentionOptions& options = {}) {
    ef::attention_backward<float>({ef::strided_view(q), ef::strided_view(k), ef::strided_view(v)}, score, options,
                                  {out, log_sum_exp}, d_out, {d_q, d_k, d_v});
  }

  Index n, d;
  Matrix<float> q, k, v, d_out, out, log_sum_exp, d_q, d_k, d_v;
};

/// Registers score_forward/NAME and score_backward/NAME. make(inputs) returns the score, which may refer to the inputs.
template <class Plain, class Make>
void add(const std::string& name, const Plain& plain, Make make, const ef::AttentionOptions& options = {}) {
  const auto sizes = [](benchmark::internal::Benchmark* b) {
    b->ArgNames({"n", "d"})->MinTime(0.2)->UseManualTime()->Unit(benchmark::kMillisecond);
    for (const int d : {64, 128}) b->Args({2048, d});
  };
  sizes(benchmark::RegisterBenchmark(("score_forward/" + name).c_str(), [=](benchmark::State& state) {
    Inputs in(state);
    const auto score = make(in);
    ef::bench::run_compared(
        state, [&] { in.forward(plain); }, [&] { in.forward(score, options); });
  }));
  sizes(benchmark::RegisterBenchmark(("score_backward/" + name).c_str(), [=](benchmark::State& state) {
    Inputs in(state), of_plain = in;
    const auto score = make(in);
    of_plain.forward(plain);
    in.forward(score, options);
    ef::bench::run_compared(
        state, [&] { of_plain.backward(plain); }, [&] { in.backward(score, options); });
  }));
}

void add_all() {
  const ef::Unmasked plain;
  const auto always = [](const auto& score) { return [score](Inputs&) { return score; }; };
  add("causal", plain, always(ef::Causal{}));  // above 1: half of the pairs are skipped
  add("sliding_window", plain, always(ef::SlidingWindow(1 << 20)));
  add("causal_window", ef::Causal{}, always(ef::combine(ef::Causal{}, ef::SlidingWindow(1 << 20))));
  add("soft_cap", plain, always(ef::SoftCap(30)));
  const ef::Alibi alibi(std::vector<double>{0.5});  // one head
  add("alibi", plain, always(alibi));
  add("alibi_causal", ef::Causal{}, always(ef::combine(alibi, ef::Causal{})));
  static std::vector<Matrix<float>> kept;  // owns what the scores refer to
  const auto keep = [](Matrix<float> m) -> Matrix<float>& {
    kept.reserve(16);
    return kept.emplace_back(std::move(m));
  };
  const auto writable = [](Matrix<float>& m) { return ef::TensorView<float>(m.data(), {m.rows(), m.cols()}); };
  Matrix<float>& weights = keep(Matrix<float>::Random(32, 1));
  Matrix<float>& d_weights = keep(Matrix<float>::Zero(32, 1));
  add("relative_bias", plain, always(ef::RelativeBias<float>(ef::strided_view(weights))));
  add("relative_bias_gradient", plain,
      always(ef::RelativeBias<float>(ef::strided_view(weights), {}, writable(d_weights))));
  static ef::Tensor<float> terms({2048, 1, 33}, 0.5F), d_terms({2048, 1, 33}, 0.0F);
  add("relative_keys", plain, always(ef::RelativeKeys<float>(terms.view())));
  add("relative_keys_gradient", plain, always(ef::RelativeKeys<float>(terms.view(), d_terms.view())));
  Matrix<float>& bias = keep(Matrix<float>::Random(2048, 2048));
  Matrix<float>& d_bias = keep(Matrix<float>::Zero(2048, 2048));
  add("dense_bias", plain, always(ef::DenseBias<float>(ef::strided_view(bias))));
  add("dense_bias_gradient", plain, always(ef::DenseBias<float>(ef::strided_view(bias), writable(d_bias))));
  add("dense_mask", plain, always(ef::DenseMask(Matrix<bool>::Constant(2048, 2048, true))));
  const Matrix<bool> random = bias.array() > -0.8F;
  add("dense_mask_random", plain, always(ef::DenseMask(random)));
  static ef::Tensor<bool> padding({1, 1, 1, 2048}, true);
  add("key_mask", plain, always(ef::DenseMask(padding)));  // hides nothing: is it asked for cheaply?
  static ef::Tensor<bool> every_ninth({1, 1, 2048, 2048}, true);
  for (Index i = 0; i < every_ninth.size(); i += 9) every_ninth.data()[i] = false;
  add("tensor_mask", plain, always(ef::DenseMask(every_ninth)));
  // Every second and every fourth block of 128 x 128 is visible: at best 2 and 4 times the plain kernel's speed.
  for (const Index share : {2, 4})
    add("block_mask_1_of_" + std::to_string(share), plain,
        always(ef::BlockMask<>(
            Matrix<bool>::NullaryExpr(16, 16, [=](Index i, Index j) { return (i + j) % share == 0; }), 128)));
  static const std::vector<double> sinks(8, 0.5);
  add("sinks", plain, always(ef::Unmasked{}), {.sinks = std::span(sinks).first(1)});
  add("dropout", plain, always(ef::Unmasked{}), {.dropout = 0.1, .dropout_key = ef::RandomKey{1, 2}});
  add("lambda_linear", plain, always(ef::score([](auto s, const ef::ScorePosition& at) {
        return s - 0.01F * static_cast<float>(at.query - at.key);
      })));
  add("lambda_tanh", plain, always(ef::score([](auto s, const ef::ScorePosition&) { return 30 * ef::tanh(s / 30); })));
  add("lambda_mask", plain, always(ef::mask([](const ef::ScorePosition& at) { return at.key % 4 != 3; })));
  // Four learned parameters: a temperature, a slope of each head, a table by distance, a scale of each key's place.
  static std::vector<Matrix<float>> learned;
  for (const Index size : {1, 8, 4096, 8}) {
    learned.push_back(Matrix<float>::Random(1, size));
    learned.push_back(Matrix<float>::Zero(1, size));
  }
  const auto parameter = [](std::size_t i, bool gradient) {
    return ef::ScoreParameter<float>(learned[2 * i],
                                     gradient ? ef::TensorView<float>(learned[2 * i + 1]) : ef::TensorView<float>());
  };
  const auto function = [](auto s, const ef::ScorePosition& at, const auto& temperature, const auto& slope,
                           const auto& table, const auto& scale) {
    return s * temperature(0) * scale(at.key % 8) - slope(at.head) * static_cast<float>(at.query - at.key) +
           table(at.query - at.key + 2048);
  };
  for (const bool gradient : {false, true})
    add(gradient ? "learned_four_gradient" : "learned_four", plain,
        always(ef::score(function, parameter(0, gradient), parameter(1, gradient), parameter(2, gradient),
                         parameter(3, gradient))));
  add("lambda_mask_and", plain, always(ef::mask([](const ef::ScorePosition& at) {
        return at.query >= at.key - 5000 && at.key >= at.query - 5000;
      })));
}

}  // namespace

int main(int argc, char** argv) {
  add_all();
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
