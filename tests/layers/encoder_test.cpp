#include "eigenformer/layers/encoder.hpp"

#include "support/ops.hpp"

namespace ef = eigenformer;

namespace {

ef::Encoder<double> encoder_of(bool norm_first, ef::Rng& rng) {
  ef::Encoder<double> encoder(
      {.width = 6, .heads = 2, .dim_feedforward = 8, .activation = ef::Activation::gelu, .norm_first = norm_first}, 2,
      rng);
  encoder.positions = ef::AttentionPositions<double>(
      {.encoding = ef::PositionEncoding::bucketed, .heads = 2, .head_width = 3, .buckets = {6, 9, true}}, rng);
  return encoder;
}

}  // namespace

TEST_CASE("an encoder is its layers, and with norm_first a norm", "[layers]") {
  const std::uint64_t seed = 141;
  const bool norm_first = GENERATE(false, true);
  CAPTURE(seed, norm_first);
  ef::Rng rng(seed);
  const ef::Encoder<double> encoder = encoder_of(norm_first, rng);
  const ef::Variable<double> x = ef::testing::random_matrix<double>(7, 6, rng);
  const ef::RowOffsets rows{0, 3, 7};
  const ef::Context<double> none{};
  const auto expected = [&](const ef::AnyScore<double>& mask) {
    const ef::Variable<double> first = encoder.layers[0](none, x, rows, mask, encoder.positions);
    const ef::Variable<double> second = encoder.layers[1](none, first, rows, mask, encoder.positions);
    return norm_first ? encoder.norm(none, second) : second;
  };
  CHECK(encoder.layers.size() == 2);
  CHECK(encoder.norm.empty() != norm_first);
  CHECK(encoder(none, x, rows).value() == expected(ef::Unmasked{}).value());
  CHECK(encoder(none, x, rows, ef::Causal{}).value() == expected(ef::Causal{}).value());
  CHECK(encoder(none, x, rows, ef::Causal{}).value() != expected(ef::Unmasked{}).value());
}

TEST_CASE("gradients of an encoder, with positions that its layers share", "[layers]") {
  const std::uint64_t seed = 142;
  const bool norm_first = GENERATE(false, true);
  CAPTURE(seed, norm_first);
  ef::Rng rng(seed);
  ef::Encoder<double> encoder = encoder_of(norm_first, rng);
  const auto x = ef::testing::random_matrix<double>(7, 6, rng);
  const ef::RowOffsets rows{0, 3, 7};
  ef::testing::check_parameters(encoder, [&](const ef::Context<double>& c) { return encoder(c, x, rows); });
}

TEST_CASE("an encoder draws and names its parameters layer by layer", "[layers]") {
  ef::Rng rng(143), by_layer(143);
  const ef::TransformerLayerOptions options{.width = 4, .heads = 2, .dim_feedforward = 8, .norm_first = true};
  const ef::Encoder<float> encoder(options, 2, rng);
  const ef::EncoderLayer<float> first(options, by_layer), second(options, by_layer);
  CHECK(encoder.layers[0].self_attn.q.weight.value == first.self_attn.q.weight.value);
  CHECK(encoder.layers[1].feed_forward.linear2.weight.value == second.feed_forward.linear2.weight.value);
  std::vector<std::string> names;
  ef::for_each_parameter(encoder, [&](const std::string& name, const auto&) { names.push_back(name); });
  CHECK(names.size() == 2 * 16 + 2);
  CHECK(names.front() == "layers.0.self_attn.q.weight");
  CHECK(names[16] == "layers.1.self_attn.q.weight");
  CHECK(names.back() == "norm.bias");
  CHECK(ef::Encoder<float>(options, 0, rng).layers.empty());
  CHECK_THROWS_WITH(ef::Encoder<float>(options, -1, rng), "Encoder: num_layers is -1, expected 0 or more");
}
