#include "eigenformer/layers/convolutional_encoder.hpp"

#include "eigenformer/core/thread_pool.hpp"
#include "support/ops.hpp"

namespace ef = eigenformer;
using ef::ConvolutionPadding;
using ef::Index;

TEST_CASE("gradients of a convolutional encoder", "[layers]") {
  const std::uint64_t seed = 361;
  CAPTURE(seed);
  ef::Rng rng(seed);
  const auto padding = GENERATE(ConvolutionPadding::same, ConvolutionPadding::causal);
  const bool gated = GENERATE(false, true);
  CAPTURE(ef::to_string(padding), gated);
  ef::ConvolutionalEncoder<double> encoder({.num_layers = 3, .layer = {.width = 4, .padding = padding, .gated = gated}},
                                           rng);
  for (auto& layer : encoder.layers) layer.convolution.bias.value.setRandom();
  const auto x = ef::testing::random_matrix<double>(9, 4, rng);
  const ef::RowOffsets rows{0, 3, 3, 9};
  ef::testing::check_parameters(encoder, [&](const ef::Context<double>& c) { return encoder(c, x, rows); });
  ef::testing::check_op({x}, [&](const ef::Context<double>& c, const std::vector<ef::Variable<double>>& in) {
    return encoder(c, in[0], rows);
  });
}

TEST_CASE("a convolutional encoder sees its receptive field, and no future if it is causal", "[layers]") {
  const std::uint64_t seed = 362;
  CAPTURE(seed);
  ef::Rng rng(seed);
  const auto padding = GENERATE(ConvolutionPadding::same, ConvolutionPadding::causal);
  const Index layers = GENERATE(1, 4), kernel = GENERATE(3, 5), dilation = GENERATE(1, 2);
  CAPTURE(ef::to_string(padding), layers, kernel, dilation);
  const ef::ConvolutionalEncoderOptions options{
      .num_layers = layers, .layer = {.width = 8, .kernel = kernel, .padding = padding, .dilation = dilation}};
  const ef::ConvolutionalEncoder<double> encoder(options, rng);
  const auto x = ef::testing::random_matrix<double>(100, 8, rng);
  const ef::RowOffsets rows{0, 20, 80, 100};
  const ef::Matrix<double> y = encoder({}, x, rows).value();
  const Index t = 45;
  ef::Matrix<double> changed = x;
  changed.row(t).array() += 1;
  const ef::Matrix<double> y_changed = encoder({}, changed, rows).value();
  const Index field = options.receptive_field();
  CHECK(field == layers * (kernel - 1) * dilation + 1);
  const Index first = padding == ConvolutionPadding::causal ? t : t - field / 2;
  for (Index i = 0; i < 100; ++i) {
    CAPTURE(i);
    CHECK((y.row(i) != y_changed.row(i)) == (i >= first && i < first + field && (i - first) % dilation == 0));
  }
}

TEST_CASE("a convolutional encoder gives each sequence what it has alone, packed or not, with any threads",
          "[layers][threads]") {
  const std::uint64_t seed = 363;
  CAPTURE(seed);
  ef::Rng rng(seed);
  const ef::ConvolutionalEncoder<float> encoder({.num_layers = 2, .layer = {.width = 40}}, rng);
  const ef::RowOffsets rows{0, 1, 1, 30, 300, 317};
  const auto x = ef::testing::random_matrix<float>(317, 40, rng);
  const ef::Matrix<float> y = encoder({}, x, rows).value();
  ef::ThreadPool pool(3);
  const ef::PackedWeights<float> packed(encoder);
  CHECK(encoder({.threads = &pool, .packed = &packed}, x, rows).value() == y);
  ef::Tape<float> tape;
  CHECK(encoder({.tape = &tape, .threads = &pool}, x, rows).value() == y);
  for (Index s = 0; s < rows.sequences(); ++s)
    CHECK(encoder({}, x.middleRows(rows.begin(s), rows.length(s))).value() ==
          y.middleRows(rows.begin(s), rows.length(s)));
}

TEST_CASE("a convolutional encoder's parameters have names", "[layers]") {
  ef::Rng rng(1);
  const ef::ConvolutionalEncoder<float> encoder({.num_layers = 2, .layer = {.width = 4}}, rng);
  std::vector<std::string> names;
  ef::for_each_parameter(encoder, [&](const std::string& name, const auto&) { names.push_back(name); });
  CHECK(names == std::vector<std::string>{"layers.0.convolution.weight", "layers.0.convolution.bias",
                                          "layers.1.convolution.weight", "layers.1.convolution.bias"});
  CHECK_THROWS_WITH(ef::ConvolutionalEncoder<float>({.num_layers = -1}, rng),
                    "ConvolutionalEncoder: num_layers is -1, expected 0 or more");
}
