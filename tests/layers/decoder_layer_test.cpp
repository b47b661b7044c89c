#include "eigenformer/layers/decoder_layer.hpp"

#include "support/ops.hpp"

namespace ef = eigenformer;

TEST_CASE("gradients of a decoder block", "[layers]") {
  const std::uint64_t seed = 42;
  CAPTURE(seed);
  ef::Rng rng(seed);
  const bool norm_first = GENERATE(false, true);
  const bool residual = GENERATE(true, false);
  CAPTURE(norm_first, residual);
  ef::DecoderLayer<double> layer({.width = 6,
                                  .heads = 2,
                                  .dim_feedforward = 8,
                                  .activation = ef::Activation::gelu,
                                  .norm_first = norm_first,
                                  .residual = residual},
                                 rng);
  const auto x = ef::testing::random_matrix<double>(7, 6, rng), memory = ef::testing::random_matrix<double>(5, 6, rng);
  const ef::RowOffsets rows{0, 3, 7}, memory_rows{0, 1, 5};
  ef::testing::check_parameters(layer,
                                [&](const ef::Context<double>& c) { return layer(c, x, rows, memory, memory_rows); });
  ef::testing::check_op({x, memory}, [&](const ef::Context<double>& c, const std::vector<ef::Variable<double>>& in) {
    return layer(c, in[0], rows, in[1], memory_rows);
  });
}

TEST_CASE("a decoder block without residual connections is its sub-layers alone", "[layers]") {
  ef::Rng rng(45);
  const ef::DecoderLayer<double> layer(
      {.width = 6, .heads = 2, .dim_feedforward = 8, .norm_first = true, .residual = false}, rng);
  const ef::Variable<double> x = ef::testing::random_matrix<double>(5, 6, rng);
  const ef::Variable<double> memory = ef::testing::random_matrix<double>(3, 6, rng);
  const ef::Context<double> none{};
  const ef::Variable<double> after_self_attention = layer.self_attn(none, layer.norm1(none, x), {}, ef::Causal{});
  const ef::Variable<double> after_cross_attention =
      layer.multihead_attn(none, layer.norm2(none, after_self_attention), memory, memory);
  CHECK(layer(none, x, {}, memory, {}).value() ==
        layer.feed_forward(none, layer.norm3(none, after_cross_attention)).value());
}

TEST_CASE("a decoder block does not see what comes later", "[layers]") {
  ef::Rng rng(43);
  const ef::DecoderLayer<double> layer({.width = 6, .heads = 2, .dim_feedforward = 8}, rng);
  auto x = ef::testing::random_matrix<double>(5, 6, rng);
  const auto memory = ef::testing::random_matrix<double>(3, 6, rng);
  const ef::Matrix<double> before = layer({}, x, {}, memory, {}).value();
  x.row(4).setRandom();
  const ef::Matrix<double> after = layer({}, x, {}, memory, {}).value();
  CHECK(after.topRows(4) == before.topRows(4));
  CHECK(after.row(4) != before.row(4));
}
