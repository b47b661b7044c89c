#include "eigenformer/layers/decoder.hpp"

#include "support/ops.hpp"

namespace ef = eigenformer;

namespace {

ef::Decoder<double> decoder_of(bool norm_first, ef::Rng& rng) {
  ef::Decoder<double> decoder(
      {.width = 6, .heads = 2, .dim_feedforward = 8, .activation = ef::Activation::gelu, .norm_first = norm_first}, 2,
      rng);
  decoder.positions = ef::AttentionPositions<double>(
      {.encoding = ef::PositionEncoding::bucketed, .heads = 2, .head_width = 3, .buckets = {6, 9, false}}, rng);
  return decoder;
}

const ef::RowOffsets decoder_rows{0, 3, 7}, decoder_memory_rows{0, 1, 5};

}  // namespace

TEST_CASE("a decoder is its layers, and with norm_first a norm", "[layers]") {
  const std::uint64_t seed = 151;
  const bool norm_first = GENERATE(false, true);
  CAPTURE(seed, norm_first);
  ef::Rng rng(seed);
  const ef::Decoder<double> decoder = decoder_of(norm_first, rng);
  const ef::Variable<double> x = ef::testing::random_matrix<double>(7, 6, rng);
  const ef::Variable<double> memory = ef::testing::random_matrix<double>(5, 6, rng);
  const ef::Context<double> none{};
  const ef::Variable<double> first =
      decoder.layers[0](none, x, decoder_rows, memory, decoder_memory_rows, decoder.positions);
  const ef::Variable<double> second =
      decoder.layers[1](none, first, decoder_rows, memory, decoder_memory_rows, decoder.positions);
  const ef::Variable<double> expected = norm_first ? decoder.norm(none, second) : second;
  CHECK(decoder.layers.size() == 2);
  CHECK(decoder.norm.empty() != norm_first);
  CHECK(decoder(none, x, decoder_rows, memory, decoder_memory_rows).value() == expected.value());
}

TEST_CASE("gradients of a decoder, with positions that its layers share", "[layers]") {
  const std::uint64_t seed = 152;
  const bool norm_first = GENERATE(false, true);
  CAPTURE(seed, norm_first);
  ef::Rng rng(seed);
  ef::Decoder<double> decoder = decoder_of(norm_first, rng);
  const auto x = ef::testing::random_matrix<double>(7, 6, rng), memory = ef::testing::random_matrix<double>(5, 6, rng);
  ef::testing::check_parameters(
      decoder, [&](const ef::Context<double>& c) { return decoder(c, x, decoder_rows, memory, decoder_memory_rows); });
}

TEST_CASE("a decoder draws and names its parameters layer by layer", "[layers]") {
  ef::Rng rng(153), by_layer(153);
  const ef::TransformerLayerOptions options{.width = 4, .heads = 2, .dim_feedforward = 8, .norm_first = true};
  const ef::Decoder<float> decoder(options, 2, rng);
  const ef::DecoderLayer<float> first(options, by_layer), second(options, by_layer);
  CHECK(decoder.layers[0].self_attn.q.weight.value == first.self_attn.q.weight.value);
  CHECK(decoder.layers[1].multihead_attn.v.weight.value == second.multihead_attn.v.weight.value);
  std::vector<std::string> names;
  ef::for_each_parameter(decoder, [&](const std::string& name, const auto&) { names.push_back(name); });
  CHECK(names.size() == 2 * 26 + 2);
  CHECK(names.front() == "layers.0.self_attn.q.weight");
  CHECK(names[26] == "layers.1.self_attn.q.weight");
  CHECK(names.back() == "norm.bias");
  CHECK(ef::Decoder<float>(options, 0, rng).layers.empty());
  CHECK_THROWS_WITH(ef::Decoder<float>(options, -1, rng), "Decoder: num_layers is -1, expected 0 or more");
}
