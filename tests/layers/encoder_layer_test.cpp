#include "eigenformer/layers/encoder_layer.hpp"

#include "support/ops.hpp"

namespace ef = eigenformer;

TEST_CASE("gradients of an encoder block", "[layers]") {
  const std::uint64_t seed = 41;
  CAPTURE(seed);
  ef::Rng rng(seed);
  const bool norm_first = GENERATE(false, true);
  const bool residual = GENERATE(true, false);
  CAPTURE(norm_first, residual);
  ef::EncoderLayer<double> layer({.width = 6,
                                  .heads = 2,
                                  .dim_feedforward = 8,
                                  .activation = ef::Activation::gelu,
                                  .norm_first = norm_first,
                                  .residual = residual},
                                 rng);
  const auto x = ef::testing::random_matrix<double>(7, 6, rng);
  const ef::RowOffsets rows{0, 3, 7};
  ef::testing::check_parameters(layer, [&](const ef::Context<double>& c) { return layer(c, x, rows); });
  ef::testing::check_op({x}, [&](const ef::Context<double>& c, const std::vector<ef::Variable<double>>& in) {
    return layer(c, in[0], rows);
  });
}

TEST_CASE("an encoder block without residual connections is its sub-layers alone", "[layers]") {
  ef::Rng rng(44);
  const bool norm_first = GENERATE(false, true);
  CAPTURE(norm_first);
  const ef::EncoderLayer<double> layer(
      {.width = 6, .heads = 2, .dim_feedforward = 8, .norm_first = norm_first, .residual = false}, rng);
  const ef::Variable<double> x = ef::testing::random_matrix<double>(5, 6, rng);
  const ef::Context<double> none{};
  const ef::Variable<double> expected =
      norm_first ? layer.feed_forward(none, layer.norm2(none, layer.self_attn(none, layer.norm1(none, x))))
                 : layer.norm2(none, layer.feed_forward(none, layer.norm1(none, layer.self_attn(none, x))));
  CHECK(layer(none, x).value() == expected.value());
}

TEST_CASE("an encoder block's parameters bear PyTorch's names", "[layers]") {
  ef::Rng rng(1);
  const ef::EncoderLayer<float> layer({.width = 4, .heads = 2, .dim_feedforward = 8}, rng);
  std::vector<std::string> names;
  ef::for_each_parameter(layer, [&](const std::string& name, const auto&) { names.push_back(name); });
  CHECK(names == std::vector<std::string>{"self_attn.q.weight", "self_attn.q.bias", "self_attn.k.weight",
                                          "self_attn.k.bias", "self_attn.v.weight", "self_attn.v.bias",
                                          "self_attn.out_proj.weight", "self_attn.out_proj.bias", "linear1.weight",
                                          "linear1.bias", "linear2.weight", "linear2.bias", "norm1.weight",
                                          "norm1.bias", "norm2.weight", "norm2.bias"});
}
