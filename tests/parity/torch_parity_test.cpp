// Outputs and gradients against PyTorch's: see make_torch_reference.py, which made the values.
#include <string>

#include "eigenformer/layers/convolution.hpp"
#include "eigenformer/layers/global_attention.hpp"
#include "eigenformer/layers/multi_head_attention.hpp"
#include "eigenformer/layers/recurrent.hpp"
#include "eigenformer/ops/activations.hpp"
#include "eigenformer/ops/cross_entropy.hpp"
#include "eigenformer/ops/pooling.hpp"
#include "parity/torch_case.hpp"

namespace ef = eigenformer;
using ef::testing::TorchCase;

namespace {

template <class Scalar>
void check_attention(const std::string& name) {
  TorchCase<Scalar> test(name);
  const ef::Context<Scalar> context{.tape = &test.tape};
  ef::Rng rng(1);
  ef::MultiHeadAttentionOptions options{.width = 12, .heads = 3, .bias = name.find("no_bias") == std::string::npos};
  if (name == "mha_cross_kdim") options.kdim = 7;
  const bool has_widths = name == "mha_cross_kdim" || name == "mha_vdim_no_bias";
  if (has_widths) options.vdim = 9;
  ef::MultiHeadAttention<Scalar> layer(options, rng);
  test.load(layer);
  ef::AnyScore<Scalar> score;
  if (name == "mha_self_causal") score = ef::Causal{};
  if (test.has("mask")) score = ef::DenseMask((test.matrix("mask").array() == 1).matrix());
  const ef::RowOffsets rows = test.rows("rows");
  if (name == "mha_cross") {
    const ef::Variable<Scalar> query = test.input("query"), memory = test.input("memory");
    test.compare(layer(context, query, memory, memory, {rows, test.rows("key_rows"), score}), layer);
  } else if (has_widths) {
    const ef::Variable<Scalar> query = test.input("query"), key = test.input("key"), value = test.input("value");
    test.compare(layer(context, query, key, value, {.score = score}), layer);
  } else {
    test.compare(layer(context, test.input("x"), rows, score), layer);
  }
}

struct NoParameters {
  static void visit(auto&, auto&&) {}
};

template <class Scalar>
void check_convolution(ef::ConvolutionPadding padding, ef::Index kernel, ef::Index dilation) {
  TorchCase<Scalar> test("convolution_" + std::string(ef::to_string(padding)) + '_' + std::to_string(kernel) + '_' +
                         std::to_string(dilation));
  ef::Rng rng(1);
  ef::Convolution<Scalar> layer({.inputs = 4, .outputs = 5, .kernel = kernel, .padding = padding, .dilation = dilation},
                                rng);
  test.load(layer);
  test.compare(layer({.tape = &test.tape}, test.input("x"), test.rows("rows")), layer);
}

template <class Scalar>
void check_convolution_without_bias() {
  TorchCase<Scalar> test("convolution_no_bias");
  ef::Rng rng(1);
  ef::Convolution<Scalar> layer({.inputs = 4, .outputs = 5, .bias = false}, rng);
  test.load(layer);
  test.compare(layer({.tape = &test.tape}, test.input("x"), test.rows("rows")), layer);
}

template <class Scalar>
void check_glu() {
  TorchCase<Scalar> test("glu");
  test.compare(ef::glu(ef::Context<Scalar>{.tape = &test.tape}, test.input("x")), NoParameters());
}

template <class Scalar>
void check_pooling(ef::Pooling pooling, ef::Index size, ef::Index stride) {
  TorchCase<Scalar> test(std::string(pooling == ef::Pooling::maximum ? "pool_max_" : "pool_mean_") +
                         std::to_string(size) + '_' + std::to_string(stride));
  const ef::PoolingWindow window{.size = size, .stride = stride};
  const ef::Context<Scalar> context{.tape = &test.tape};
  test.compare(ef::pool_windows(context, pooling, test.input("x"), window, test.rows("rows")).x, NoParameters());
}

template <class Scalar>
void check_cross_entropy(const std::string& name, const ef::CrossEntropyOptions& options) {
  TorchCase<Scalar> test(name);
  const auto labels = ef::testing::torch_reference().values<ef::Token>(name + "/labels");
  test.compare(ef::cross_entropy({.tape = &test.tape}, test.input("logits"), labels, options), NoParameters());
}

}  // namespace

TEST_CASE("multi-head attention agrees with PyTorch", "[parity]") {
  const auto name = GENERATE(as<std::string>(), "mha_self", "mha_self_causal", "mha_no_bias", "mha_cross",
                             "mha_cross_kdim", "mha_vdim_no_bias", "mha_mask", "mha_mask_ragged");
  check_attention<float>(name);
  check_attention<double>(name);
}

TEST_CASE("convolution, its gate and pooling agree with PyTorch", "[parity]") {
  for (const auto padding : {ef::ConvolutionPadding::same, ef::ConvolutionPadding::causal})
    for (const auto& [kernel, dilation] : {std::pair{3, 1}, {4, 1}, {3, 2}, {2, 3}}) {
      check_convolution<float>(padding, kernel, dilation);
      check_convolution<double>(padding, kernel, dilation);
    }
  check_convolution_without_bias<float>();
  check_convolution_without_bias<double>();
  check_glu<float>();
  check_glu<double>();
  for (const auto pooling : {ef::Pooling::maximum, ef::Pooling::mean})
    for (const auto& [size, stride] : {std::pair{2, 2}, {3, 1}, {3, 2}}) {
      check_pooling<float>(pooling, size, stride);
      check_pooling<double>(pooling, size, stride);
    }
}

TEST_CASE("cross entropy agrees with PyTorch", "[parity]") {
  check_cross_entropy<float>("cross_entropy", {});
  check_cross_entropy<double>("cross_entropy", {});
  check_cross_entropy<float>("cross_entropy_smoothing", {.label_smoothing = 0.1});
  check_cross_entropy<double>("cross_entropy_smoothing", {.label_smoothing = 0.1});
  check_cross_entropy<float>("cross_entropy_sum", {.reduction = ef::Reduction::sum});
  check_cross_entropy<double>("cross_entropy_sum", {.reduction = ef::Reduction::sum});
}

namespace {

template <class Scalar>
void check_global_attention(ef::AlignmentScore score) {
  TorchCase<Scalar> test("global_attention_" + std::string(ef::to_string(score)));
  const ef::Context<Scalar> context{.tape = &test.tape};
  ef::Rng rng(1);
  const ef::Variable<Scalar> query = test.input("query"), memory = test.input("memory");
  ef::GlobalAttention<Scalar> layer(
      {.query_width = query.cols(), .memory_width = memory.cols(), .score = score, .attention_width = 9}, rng);
  test.load(layer);
  const ef::Variable<Scalar> keys = layer.keys(context, memory);
  test.compare(layer(context, query, keys, memory, test.rows("rows"), test.rows("key_rows")), layer);
}

}  // namespace

TEST_CASE("global attention agrees with PyTorch's operations", "[parity]") {
  const auto score = GENERATE(ef::AlignmentScore::dot, ef::AlignmentScore::general, ef::AlignmentScore::scaled_dot,
                              ef::AlignmentScore::additive);
  check_global_attention<float>(score);
  check_global_attention<double>(score);
}

namespace {

template <class Scalar>
void check_recurrent(const ef::RecurrentOptions& options) {
  TorchCase<Scalar> test(std::string(ef::to_string(options.cell)) + (options.bidirectional ? "_bidirectional" : "") +
                         (options.bias ? "" : "_no_bias"));
  const ef::Context<Scalar> context{.tape = &test.tape};
  ef::Rng rng(1);
  ef::Recurrent<Scalar> layer(options, rng);
  test.load(layer);
  const ef::Variable<Scalar> x = test.input("x");
  std::vector<ef::Variable<Scalar>> initial;
  for (ef::Index i = 0; i < options.num_layers; ++i) initial.push_back(test.input("initial" + std::to_string(i)));
  const ef::RecurrentResult<Scalar> result = layer(context, x, test.rows("rows"), initial);
  std::vector<ef::Variable<Scalar>> parts{result.output};
  for (const ef::Variable<Scalar>& state : result.states)
    for (ef::Index column = 0; column < layer.state_width(); column += layer.width())
      parts.push_back(ef::columns(context, state, column, layer.width()));
  test.compare(ef::concat_rows(context, parts), layer);
}

}  // namespace

TEST_CASE("recurrent layers agree with PyTorch's over packed sequences", "[parity]") {
  const auto cell =
      GENERATE(ef::RecurrentCell::rnn, ef::RecurrentCell::rnn_relu, ef::RecurrentCell::gru, ef::RecurrentCell::lstm);
  const bool bidirectional = GENERATE(false, true);
  const ef::RecurrentOptions options{
      .inputs = 4, .hidden = 5, .num_layers = 2, .cell = cell, .bidirectional = bidirectional};
  check_recurrent<float>(options);
  check_recurrent<double>(options);
}

TEST_CASE("recurrent layers without biases agree with PyTorch's", "[parity]") {
  const ef::RecurrentOptions gru{.inputs = 4, .hidden = 5, .bias = false};
  const ef::RecurrentOptions lstm{
      .inputs = 4, .hidden = 3, .num_layers = 3, .cell = ef::RecurrentCell::lstm, .bidirectional = true, .bias = false};
  for (const ef::RecurrentOptions& options : {gru, lstm}) {
    check_recurrent<float>(options);
    check_recurrent<double>(options);
  }
}
