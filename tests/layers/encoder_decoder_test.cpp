#include "eigenformer/layers/encoder_decoder.hpp"

#include "eigenformer/kernels/scores/sliding_window.hpp"
#include "support/approx.hpp"
#include "support/naive_attention.hpp"
#include "support/ops.hpp"

namespace ef = eigenformer;
using ef::Index;
using ef::Matrix;
using ef::testing::NaiveScore;

namespace {

Matrix<double> naive_linear(const Matrix<double>& x, const ef::Linear<double>& layer) {
  return (x * layer.weight.value.transpose()).rowwise() + layer.bias.value.row(0);
}

Matrix<double> naive_norm(const Matrix<double>& x, const ef::LayerNorm<double>& norm) {
  Matrix<double> y = x;
  for (Index i = 0; i < x.rows(); ++i) {
    const double mean = x.row(i).mean(), variance = (x.row(i).array() - mean).square().mean();
    for (Index j = 0; j < x.cols(); ++j)
      y(i, j) = (x(i, j) - mean) / std::sqrt(variance + norm.epsilon) * norm.weight.value(0, j) + norm.bias.value(0, j);
  }
  return y;
}

/// torch.nn.MultiheadAttention of queries over keys, in their sequences.
Matrix<double> naive_attend(const ef::MultiHeadAttention<double>& layer, const Matrix<double>& queries,
                            const Matrix<double>& keys, const NaiveScore& score, const ef::AttentionOptions& options) {
  return naive_linear(ef::testing::naive_attention(naive_linear(queries, layer.q), naive_linear(keys, layer.k),
                                                   naive_linear(keys, layer.v), score, options)
                          .out,
                      layer.out_proj);
}

template <class Layer>
Matrix<double> naive_feed_forward(const Layer& layer, const Matrix<double>& x) {
  return naive_linear(naive_linear(x, layer.feed_forward.linear1).cwiseMax(0), layer.feed_forward.linear2);
}

/// torch.nn.Transformer(source, target, tgt_mask), with norms after the sub-layers and ReLU.
Matrix<double> naive_transformer(const ef::EncoderDecoder<double>& model, const Matrix<double>& source,
                                 const ef::RowOffsets& source_rows, const Matrix<double>& target,
                                 const ef::RowOffsets& target_rows, const NaiveScore& tgt_mask) {
  const Index heads = model.decoder.layers[0].self_attn.heads;
  const auto options = [&](const ef::RowOffsets& queries, const ef::RowOffsets& keys) {
    return ef::AttentionOptions{.heads = heads, .query_rows = queries, .key_rows = keys};
  };
  const NaiveScore all = ef::testing::naive_unmasked;
  Matrix<double> memory = source;
  for (const auto& layer : model.encoder.layers) {
    memory = naive_norm(memory + naive_attend(layer.self_attn, memory, memory, all, options(source_rows, source_rows)),
                        layer.norm1);
    memory = naive_norm(memory + naive_feed_forward(layer, memory), layer.norm2);
  }
  memory = naive_norm(memory, model.encoder.norm);
  Matrix<double> x = target;
  for (const auto& layer : model.decoder.layers) {
    x = naive_norm(x + naive_attend(layer.self_attn, x, x, tgt_mask, options(target_rows, target_rows)), layer.norm1);
    x = naive_norm(x + naive_attend(layer.multihead_attn, x, memory, all, options(target_rows, source_rows)),
                   layer.norm2);
    x = naive_norm(x + naive_feed_forward(layer, x), layer.norm3);
  }
  return naive_norm(x, model.decoder.norm);
}

}  // namespace

TEST_CASE("an encoder-decoder is its two stacks, of any number of layers", "[layers]") {
  const std::uint64_t seed = 145;
  const auto final_norm = GENERATE(from_range(ef::values_of<ef::FinalNorm>()));
  CAPTURE(seed, ef::to_string(final_norm));
  ef::Rng rng(seed);
  ef::EncoderDecoder<double> model({.width = 6,
                                    .heads = 2,
                                    .dim_feedforward = 8,
                                    .dropout = 0,
                                    .activation = ef::Activation::gelu,
                                    .final_norm = final_norm},
                                   2, 1, rng);
  CHECK(model.encoder.layers.size() == 2);
  CHECK(model.decoder.layers.size() == 1);
  CHECK(model.encoder.norm.empty() != (final_norm == ef::FinalNorm::always));
  CHECK(model.decoder.norm.empty() != (final_norm == ef::FinalNorm::always));
  const auto source = ef::testing::random_matrix<double>(7, 6, rng);
  const auto target = ef::testing::random_matrix<double>(5, 6, rng);
  const ef::RowOffsets source_rows{0, 3, 7}, target_rows{0, 4, 5};
  const ef::Variable<double> memory = model.encoder({}, source, source_rows);
  CHECK(model({}, source, source_rows, target, target_rows).value() ==
        model.decoder({}, target, target_rows, memory, source_rows).value());
  ef::testing::check_parameters(
      model, [&](const ef::Context<double>& c) { return model(c, source, source_rows, target, target_rows); });
}

TEST_CASE("a decoder is causal by default, and sees what target_score shows, as torch.nn.Transformer", "[layers]") {
  const std::uint64_t seed = 146;
  CAPTURE(seed);
  ef::Rng rng(seed);
  ef::EncoderDecoder<double> model(
      {.width = 6, .heads = 2, .dim_feedforward = 8, .dropout = 0, .final_norm = ef::FinalNorm::always}, 2, 2, rng);
  ef::for_each_parameter(model, [&](const auto&, ef::Parameter<double>& p) {
    p.value += ef::testing::random_matrix<double>(p.value.rows(), p.value.cols(), rng, 0.3);
  });
  const auto source = ef::testing::random_matrix<double>(7, 6, rng);
  const auto target = ef::testing::random_matrix<double>(9, 6, rng);
  const ef::RowOffsets source_rows{0, 3, 7}, target_rows{0, 4, 9};
  const NaiveScore window = [](const auto& at, double score) {
    return std::abs(at.query - at.key) < 2 ? score : ef::testing::naive_hidden;
  };
  const auto expected = [&](const NaiveScore& mask) {
    return naive_transformer(model, source, source_rows, target, target_rows, mask);
  };
  const auto given = [&](const ef::AnyScore<double>& score) {
    return model({}, source, source_rows, target, target_rows, score).value();
  };
  const Matrix<double> causal = model({}, source, source_rows, target, target_rows).value();
  CHECK(ef::testing::max_error(causal, expected(ef::testing::naive_causal)) < 1e-12);
  CHECK(given(ef::Causal{}) == causal);
  CHECK(ef::testing::max_error(given(ef::Unmasked{}), expected(ef::testing::naive_unmasked)) < 1e-12);
  CHECK(ef::testing::max_error(given(ef::SlidingWindow(2)), expected(window)) < 1e-12);
  CHECK(ef::testing::max_error(given(ef::Unmasked{}), causal) > 0.01);
  // A block by itself.
  const ef::DecoderLayer<double>& layer = model.decoder.layers[0];
  const ef::Variable<double> memory = model.encoder({}, source, source_rows);
  const ef::DecoderBatch<double> batch{.rows = target_rows, .memory_rows = source_rows};
  CHECK(layer({}, target, memory, batch).value() == layer({}, target, target_rows, memory, source_rows).value());
}
