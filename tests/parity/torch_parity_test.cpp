// Outputs and gradients against PyTorch's: see make_torch_reference.py, which made the values.
#include <string>

#include "eigenformer/io/safetensors.hpp"
#include "eigenformer/layers/convolution.hpp"
#include "eigenformer/layers/decoder_layer.hpp"
#include "eigenformer/layers/encoder_layer.hpp"
#include "eigenformer/layers/global_attention.hpp"
#include "eigenformer/layers/recurrent.hpp"
#include "eigenformer/ops/activations.hpp"
#include "eigenformer/ops/cross_entropy.hpp"
#include "eigenformer/ops/pooling.hpp"
#include "support/approx.hpp"
#include "support/catch.hpp"

namespace ef = eigenformer;

namespace {

const ef::SafetensorsFile& reference() {
  static const ef::SafetensorsFile file(TESTS_FOLDER "/parity/torch_reference.safetensors");
  return file;
}

/// One case of the file, run with one scalar.
template <class Scalar>
class Case {
 public:
  explicit Case(std::string name) : name_(std::move(name)) {}

  bool has(const std::string& what) const { return reference().contains(name_ + '/' + what); }
  ef::Matrix<Scalar> matrix(const std::string& what) const { return reference().matrix<Scalar>(name_ + '/' + what); }
  ef::RowOffsets rows(const std::string& what) const {
    return has(what) ? ef::RowOffsets(reference().values<ef::Index>(name_ + '/' + what)) : ef::RowOffsets();
  }
  ef::Variable<Scalar> input(const std::string& what) {
    inputs_.emplace_back(what, tape.variable(matrix("input/" + what)));
    return inputs_.back().second;
  }

  /// Gives the layer PyTorch's parameters. Every one of the case must be used.
  template <class Layer>
  void load(Layer& layer) {
    std::size_t used = 0;
    ef::for_each_parameter(layer, [&](const std::string& parameter, ef::Parameter<Scalar>& p) {
      CAPTURE(parameter);
      const ef::Matrix<Scalar> value = matrix("parameter/" + parameter);
      REQUIRE(ef::shape(value) == ef::shape(p.value));
      p.value = value;
      ++used;
    });
    for (const std::string& tensor : reference().names()) used -= tensor.rfind(name_ + "/parameter/", 0) == 0 ? 1 : 0;
    REQUIRE(used == 0);
  }

  /// Compares the output and all gradients.
  template <class Layer>
  void compare(const ef::Variable<Scalar>& y, const Layer& layer) {
    const double largest = std::is_same_v<Scalar, float> ? 1e-5 : 1e-10;
    CAPTURE(name_, largest);
    CHECK(ef::testing::max_error(y.value(), matrix("output/y")) <= largest);
    const ef::Context<Scalar> context{.tape = &tape};
    tape.backward(ef::sum(context, ef::multiply(context, y, ef::Variable<Scalar>(matrix("cotangent")))));
    for (const auto& [input, variable] : inputs_) {
      CAPTURE(input);
      CHECK(ef::testing::max_error(tape.gradient(variable), matrix("gradient/" + input)) <= largest);
    }
    ef::for_each_parameter(layer, [&](const std::string& parameter, const ef::Parameter<Scalar>& p) {
      CAPTURE(parameter);
      CHECK(ef::testing::max_error(tape.gradient(p), matrix("gradient/" + parameter)) <= largest);
    });
  }

  ef::Tape<Scalar> tape;

 private:
  std::string name_;
  std::vector<std::pair<std::string, ef::Variable<Scalar>>> inputs_;
};

template <class Scalar>
void check_attention(const std::string& name) {
  Case<Scalar> test(name);
  const ef::Context<Scalar> context{.tape = &test.tape};
  ef::Rng rng(1);
  ef::MultiHeadAttentionOptions options{.width = 12, .heads = 3, .bias = name != "mha_no_bias"};
  if (name == "mha_cross_kdim") {
    options.kdim = 7;
    options.vdim = 9;
  }
  ef::MultiHeadAttention<Scalar> layer(options, rng);
  test.load(layer);
  ef::AnyMask score = ef::Unmasked{};
  if (name == "mha_self_causal") score = ef::Causal{};
  if (test.has("mask")) score = ef::DenseMask((test.matrix("mask").array() == 1).matrix());
  const ef::RowOffsets rows = test.rows("rows");
  if (name == "mha_cross") {
    const ef::Variable<Scalar> query = test.input("query"), memory = test.input("memory");
    test.compare(layer(context, query, memory, memory, {rows, test.rows("key_rows"), score}), layer);
  } else if (name == "mha_cross_kdim") {
    const ef::Variable<Scalar> query = test.input("query"), key = test.input("key"), value = test.input("value");
    test.compare(layer(context, query, key, value, {.mask = score}), layer);
  } else {
    test.compare(layer(context, test.input("x"), rows, score), layer);
  }
}

struct NoParameters {
  static void visit(auto&, auto&&) {}
};

template <class Scalar>
void check_convolution(ef::ConvolutionPadding padding, ef::Index kernel, ef::Index dilation) {
  Case<Scalar> test("convolution_" + std::string(ef::to_string(padding)) + '_' + std::to_string(kernel) + '_' +
                    std::to_string(dilation));
  ef::Rng rng(1);
  ef::Convolution<Scalar> layer({.inputs = 4, .outputs = 5, .kernel = kernel, .padding = padding, .dilation = dilation},
                                rng);
  test.load(layer);
  test.compare(layer({.tape = &test.tape}, test.input("x"), test.rows("rows")), layer);
}

template <class Scalar>
void check_glu() {
  Case<Scalar> test("glu");
  test.compare(ef::glu(ef::Context<Scalar>{.tape = &test.tape}, test.input("x")), NoParameters());
}

template <class Scalar>
void check_pooling(ef::Pooling pooling, ef::Index size, ef::Index stride) {
  Case<Scalar> test(std::string(pooling == ef::Pooling::maximum ? "pool_max_" : "pool_mean_") + std::to_string(size) +
                    '_' + std::to_string(stride));
  const ef::PoolingWindow window{.size = size, .stride = stride};
  const ef::Context<Scalar> context{.tape = &test.tape};
  test.compare(ef::pool_windows(context, pooling, test.input("x"), window, test.rows("rows")).x, NoParameters());
}

ef::TransformerLayerOptions block_options(bool norm_first, bool gelu) {
  return {.width = 12,
          .heads = 3,
          .dim_feedforward = 20,
          .dropout = 0,
          .activation = gelu ? ef::Activation::gelu : ef::Activation::relu,
          .norm_first = norm_first};
}

template <class Scalar>
void check_blocks(bool norm_first, bool gelu) {
  const std::string suffix = std::string(norm_first ? "_pre" : "_post") + (gelu ? "_gelu" : "_relu");
  ef::Rng rng(1);
  {
    Case<Scalar> test("encoder" + suffix);
    ef::EncoderLayer<Scalar> layer(block_options(norm_first, gelu), rng);
    test.load(layer);
    test.compare(layer({.tape = &test.tape}, test.input("x"), test.rows("rows")), layer);
  }
  {
    Case<Scalar> test("decoder" + suffix);
    ef::DecoderLayer<Scalar> layer(block_options(norm_first, gelu), rng);
    test.load(layer);
    const ef::Variable<Scalar> x = test.input("x"), memory = test.input("memory");
    test.compare(layer({.tape = &test.tape}, x, test.rows("rows"), memory, test.rows("key_rows")), layer);
  }
}

template <class Scalar>
void check_cross_entropy(const std::string& name, const ef::CrossEntropyOptions& options) {
  Case<Scalar> test(name);
  const auto labels = reference().values<ef::Token>(name + "/labels");
  test.compare(ef::cross_entropy({.tape = &test.tape}, test.input("logits"), labels, options), NoParameters());
}

}  // namespace

TEST_CASE("multi-head attention agrees with PyTorch", "[parity]") {
  const auto name = GENERATE(as<std::string>(), "mha_self", "mha_self_causal", "mha_no_bias", "mha_cross",
                             "mha_cross_kdim", "mha_mask", "mha_mask_ragged");
  check_attention<float>(name);
  check_attention<double>(name);
}

TEST_CASE("convolution, its gate and pooling agree with PyTorch", "[parity]") {
  for (const auto padding : {ef::ConvolutionPadding::same, ef::ConvolutionPadding::causal})
    for (const auto& [kernel, dilation] : {std::pair{3, 1}, {4, 1}, {3, 2}, {2, 3}}) {
      check_convolution<float>(padding, kernel, dilation);
      check_convolution<double>(padding, kernel, dilation);
    }
  check_glu<float>();
  check_glu<double>();
  for (const auto pooling : {ef::Pooling::maximum, ef::Pooling::mean})
    for (const auto& [size, stride] : {std::pair{2, 2}, {3, 1}, {3, 2}}) {
      check_pooling<float>(pooling, size, stride);
      check_pooling<double>(pooling, size, stride);
    }
}

TEST_CASE("encoder and decoder blocks agree with PyTorch", "[parity]") {
  const bool norm_first = GENERATE(false, true);
  const bool gelu = GENERATE(false, true);
  check_blocks<float>(norm_first, gelu);
  check_blocks<double>(norm_first, gelu);
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
  Case<Scalar> test("global_attention_" + std::string(ef::to_string(score)));
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
void check_recurrent(ef::RecurrentCell cell, bool bidirectional) {
  Case<Scalar> test(std::string(ef::to_string(cell)) + (bidirectional ? "_bidirectional" : ""));
  const ef::Context<Scalar> context{.tape = &test.tape};
  ef::Rng rng(1);
  ef::Recurrent<Scalar> layer({.inputs = 4, .hidden = 5, .num_layers = 2, .cell = cell, .bidirectional = bidirectional},
                              rng);
  test.load(layer);
  const ef::Variable<Scalar> x = test.input("x"), first = test.input("initial0"), second = test.input("initial1");
  const ef::RecurrentResult<Scalar> result = layer(context, x, test.rows("rows"), {first, second});
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
  check_recurrent<float>(cell, bidirectional);
  check_recurrent<double>(cell, bidirectional);
}
