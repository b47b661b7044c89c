#include "eigenformer/layers/transformer_layer_options.hpp"

#include <limits>

#include "eigenformer/models/transformer.hpp"
#include "support/catch.hpp"
#include "support/message_of.hpp"

namespace ef = eigenformer;

TEST_CASE("defaults are the paper's, and the attention's options follow", "[layers]") {
  const ef::TransformerLayerOptions options{.heads = 4, .head_width = 64, .dropout = 0.2, .bias = false};
  CHECK(options.width == 512);
  CHECK(options.dim_feedforward == 2048);
  CHECK(options.attention().width == 512);
  CHECK(options.attention().heads == 4);
  CHECK(options.attention().head_width == 64);
  CHECK(options.attention().dropout == 0.2);
  CHECK(!options.attention().bias);
}

TEST_CASE("relative positions are of self-attention alone", "[layers]") {
  const ef::TransformerLayerOptions options{.heads = 4, .relative_distance = 7, .relative_values = false};
  CHECK(options.self_attention().heads == 4);
  CHECK(options.self_attention().relative_distance == 7);
  CHECK(!options.self_attention().relative_values);
  CHECK(options.attention().relative_distance == 0);
}

TEST_CASE("norms of queries and keys are like the other norms", "[layers]") {
  const ef::TransformerLayerOptions options{
      .layer_norm_eps = 0.5, .norm_bias = false, .qk_norm = ef::QueryKeyNorm::layer_norm};
  CHECK(options.attention().qk_norm == ef::QueryKeyNorm::layer_norm);
  CHECK(options.self_attention().qk_norm_eps == 0.5);
  CHECK(!options.attention().qk_norm_bias);
}

TEST_CASE("the final norm follows norm_first unless it is chosen", "[layers]") {
  ef::TransformerLayerOptions options{.width = 6, .layer_norm_eps = 0.5, .norm_bias = false};
  for (const bool norm_first : {false, true}) {
    options.norm_first = norm_first;
    options.final_norm = ef::FinalNorm::with_norm_first;
    CHECK(options.has_final_norm() == norm_first);
    options.final_norm = ef::FinalNorm::always;
    CHECK(options.has_final_norm());
    options.final_norm = ef::FinalNorm::never;
    CHECK(!options.has_final_norm());
  }
  CHECK(options.norm<float>().weight.size() == 6);
  CHECK(options.norm<float>().bias.empty());
  CHECK(options.norm<float>().epsilon == 0.5);
}

TEST_CASE("each dropout follows `dropout` unless it is chosen", "[layers]") {
  ef::TransformerLayerOptions options{.width = 8, .heads = 2, .dim_feedforward = 4, .dropout = 0.2};
  for (const bool chosen : {false, true}) {
    if (chosen) {
      options.attention_dropout = 0;
      options.activation_dropout = 0.3;
      options.embedding_dropout = 0.4;
    }
    ef::Rng rng(1);
    const ef::TransformerOptions model_options{.source_vocabulary_size = 5,
                                               .target_vocabulary_size = 5,
                                               .num_encoder_layers = 1,
                                               .num_decoder_layers = 1,
                                               .layer = options};
    const ef::Transformer<float> model(model_options, rng);
    CHECK(model.dropout.rate == (chosen ? 0.4 : 0.2));
    const auto check_layer = [&](const auto& layer) {
      CHECK(layer.self_attn.dropout == (chosen ? 0 : 0.2));
      CHECK(layer.feed_forward.dropout.rate == (chosen ? 0.3 : 0.2));
      CHECK(layer.residual.dropout.rate == 0.2);
    };
    check_layer(model.encoder.layers[0]);
    check_layer(model.decoder.layers[0]);
    CHECK(model.decoder.layers[0].multihead_attn.dropout == (chosen ? 0 : 0.2));
  }
}

TEST_CASE("sizes and rates that no layer can have are refused when it is made", "[layers]") {
  const auto message = [](auto change) {
    ef::TransformerLayerOptions options{.width = 8, .heads = 2, .dim_feedforward = 4, .dropout = 0};
    change(options);
    ef::Rng rng(1);
    const std::string of_encoder = ef::testing::message_of([&] { ef::EncoderLayer<float>(options, rng); });
    CHECK(ef::testing::message_of([&] { ef::DecoderLayer<float>(options, rng); }) == of_encoder);
    return of_encoder;
  };
  CHECK(message([](auto&) {}) == "nothing was thrown");
  CHECK(message([](auto& o) { o.width = -8; }) ==
        "TransformerLayerOptions: width is -8, dim_feedforward is 4, expected 1 or more");
  CHECK(message([](auto& o) { o.dim_feedforward = 0; }) ==
        "TransformerLayerOptions: width is 8, dim_feedforward is 0, expected 1 or more");
  CHECK(message([](auto& o) { o.dropout = -0.5; }) ==
        "TransformerLayerOptions: dropout is -0.5, expected 0 or more and less than 1");
  CHECK(message([](auto& o) { o.dropout = 7; }) ==
        "TransformerLayerOptions: dropout is 7, expected 0 or more and less than 1");
  CHECK(message([](auto& o) { o.activation_dropout = 1; }) ==
        "TransformerLayerOptions: attention_dropout is -1, activation_dropout is 1, embedding_dropout is -1, expected "
        "less than 1; below 0 means dropout");
  CHECK(message([](auto& o) {
          o.attention_dropout = std::numeric_limits<double>::quiet_NaN();
        }).find("TransformerLayerOptions: attention_dropout is ") == 0);
  ef::Rng rng(1);
  ef::TransformerOptions model{.source_vocabulary_size = 5, .target_vocabulary_size = 5, .num_encoder_layers = 0};
  model.num_decoder_layers = 0;
  model.layer.embedding_dropout = 1.5;
  CHECK_THROWS_AS(ef::Transformer<float>(model, rng), ef::Error);
}
