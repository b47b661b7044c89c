#include "eigenformer/io/transformer_config.hpp"

#include "support/catch.hpp"
#include "support/copy_task.hpp"
#include "support/tensor_list.hpp"

namespace ef = eigenformer;

TEST_CASE("options come back from JSON as they were", "[io]") {
  ef::TransformerOptions options = ef::TransformerOptions::tiny();
  options.source_vocabulary_size = 10;
  options.target_vocabulary_size = 20;
  options.layer.activation = ef::Activation::gelu_tanh;
  options.positions = GENERATE(from_range(ef::position_encodings));
  options.relative_distance = 3;
  options.layer.relative_values = false;
  options.buckets = 16;
  options.max_distance = 50;
  options.rotary_base = 500000;
  options.rope_scaling = {.rope_type = ef::RopeType::yarn,
                          .factor = 4,
                          .original_max_position_embeddings = 4096,
                          .low_freq_factor = 2,
                          .high_freq_factor = 5,
                          .beta_fast = 16,
                          .beta_slow = 3,
                          .truncate = false,
                          .attention_factor = 1.5,
                          .mscale = 0.75,
                          .mscale_all_dim = 0.25,
                          .sequence_length = 9000,
                          .short_factor = {1, 1.5},
                          .long_factor = {1.25, 40}};
  options.layer.norm_first = true;
  options.layer.qk_norm = ef::QueryKeyNorm::rms_norm;
  options.layer.sinks = true;
  options.encoder_scores = {{.window = 8}, {}};
  options.decoder_scores = {{.soft_cap = 50, .user_score = "decay", .sinks = true}};
  options.memory_scores = {{.soft_cap = 30}};
  options.alignment_layer = 1;
  options.alignment_head = 2;
  options.layer.residual = false;
  options.layer.norm_bias = false;
  options.layer.final_norm = ef::FinalNorm::never;
  options.share_embeddings = false;
  options.layer.dropout = 0.125;
  options.layer.attention_dropout = 0.25;
  options.layer.activation_dropout = 0;
  options.layer.embedding_dropout = 0.5;
  const ef::Json json = ef::options_to_json(options);
  CHECK(ef::options_to_json(ef::options_from_json<ef::TransformerOptions>(json, "test")) == json);
  CHECK(ef::options_from_json<ef::TransformerOptions>(json, "test").rope_scaling == options.rope_scaling);
  CHECK(json["activation"] == "gelu_tanh");
  CHECK(json["target_vocabulary_size"] == 20);
  CHECK(json["positions"] == std::string(ef::to_string(options.positions)));
  CHECK(json["relative_distance"] == 3);
  CHECK(json["relative_values"] == false);
  CHECK(json["buckets"] == 16);
  CHECK(json["max_distance"] == 50);
  CHECK(json["rotary_base"] == 500000);
  CHECK(json["rope_scaling"]["rope_type"] == "yarn");
  CHECK(json["rope_scaling"]["factor"] == 4);
  CHECK(json["rope_scaling"]["original_max_position_embeddings"] == 4096);
  CHECK(json["rope_scaling"]["sequence_length"] == 9000);
  CHECK(json["rope_scaling"]["long_factor"] == ef::Json{1.25, 40.0});
  CHECK(json["qk_norm"] == "rms_norm");
  CHECK(json["sinks"] == true);
  CHECK(json["attention_dropout"] == 0.25);
  CHECK(json["activation_dropout"] == 0);
  CHECK(json["embedding_dropout"] == 0.5);
  CHECK(json["encoder_scores"][0]["window"] == 8);
  CHECK(json["decoder_scores"][0] ==
        ef::Json{{"window", 0}, {"soft_cap", 50.0}, {"user_score", "decay"}, {"sinks", true}});
  const auto again = ef::options_from_json<ef::TransformerOptions>(json, "test");
  CHECK(again.encoder_scores == options.encoder_scores);
  CHECK(again.decoder_scores == options.decoder_scores);
  CHECK(again.memory_scores == options.memory_scores);
  CHECK((again.alignment_layer == 1 && again.alignment_head == 2));
  CHECK(json["residual"] == false);
  CHECK(json["norm_bias"] == false);
  CHECK(json["final_norm"] == "never");
}

TEST_CASE("options of older folders, which lack later ones, are read", "[io]") {
  ef::Json json = ef::options_to_json(ef::TransformerOptions());
  json.erase("norm_bias");
  json.erase("final_norm");
  json.erase("rope_scaling");
  json.erase("qk_norm");
  json.erase("sinks");
  for (const char* name : {"attention_dropout", "activation_dropout", "embedding_dropout"}) json.erase(name);
  for (const char* name : {"encoder_scores", "decoder_scores", "memory_scores"}) json.erase(name);
  for (const char* name : {"alignment_layer", "alignment_head"}) json.erase(name);
  ef::Json earlier = ef::options_to_json(ef::TransformerOptions());
  for (const char* name : {"sequence_length", "short_factor", "long_factor"}) earlier["rope_scaling"].erase(name);
  CHECK(ef::options_from_json<ef::TransformerOptions>(earlier, "test").rope_scaling == ef::RotaryScaling());
  const auto options = ef::options_from_json<ef::TransformerOptions>(json, "test");
  CHECK(options.layer.norm_bias);
  CHECK(options.layer.final_norm == ef::FinalNorm::with_norm_first);
  CHECK(options.rope_scaling == ef::RotaryScaling());
  CHECK(options.layer.qk_norm == ef::QueryKeyNorm::none);
  CHECK(options.layer.attention_dropout_rate() == options.layer.dropout);
  CHECK(options.encoder_scores.empty());
  CHECK(!options.layer.sinks);
  CHECK((options.alignment_layer == 0 && options.alignment_head == 0));
  json["encoder_scores"] = ef::Json::array({{{"window", 4}, {"soft_cap", 0}, {"user_score", ""}}});
  CHECK(ef::options_from_json<ef::TransformerOptions>(json, "test").encoder_scores == ef::LayerScores{{.window = 4}});
}

TEST_CASE("model folders keep their options in one list", "[io]") {
  std::vector<std::string> keys;
  const ef::Json json = ef::options_to_json(ef::TransformerOptions());
  for (const auto& [key, value] : json.items()) {
    CHECK(value.is_object() == (key == "rope_scaling"));
    keys.push_back(key);
  }
  CHECK(keys == std::vector<std::string>{"activation",
                                         "activation_dropout",
                                         "alignment_head",
                                         "alignment_layer",
                                         "attention_dropout",
                                         "bias",
                                         "buckets",
                                         "decoder_scores",
                                         "dim_feedforward",
                                         "dropout",
                                         "embedding_dropout",
                                         "encoder_scores",
                                         "final_norm",
                                         "head_width",
                                         "heads",
                                         "key_heads",
                                         "layer_norm_eps",
                                         "max_distance",
                                         "max_length",
                                         "memory_scores",
                                         "norm_bias",
                                         "norm_first",
                                         "num_decoder_layers",
                                         "num_encoder_layers",
                                         "positions",
                                         "qk_norm",
                                         "relative_distance",
                                         "relative_values",
                                         "residual",
                                         "rope_scaling",
                                         "rotary_base",
                                         "share_embeddings",
                                         "sinks",
                                         "source_vocabulary_size",
                                         "target_vocabulary_size",
                                         "tie_output",
                                         "width"});
}

TEST_CASE("JSON that is not a Transformer's options is refused by name", "[io]") {
  ef::Json json = ef::options_to_json(ef::TransformerOptions());
  const auto message = [&](const char* key, ef::Json value) {
    ef::Json changed = json;
    changed[key] = std::move(value);
    try {
      ef::options_from_json<ef::TransformerOptions>(changed, "config.json");
    } catch (const ef::Error& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  CHECK(message("width", -3) == "config.json: \"width\" is -3, expected a whole number from 0 to 2^31");
  CHECK(message("norm_first", "yes") == "config.json: \"norm_first\" is \"yes\", expected true or false");
  CHECK(message("dropout", "much") == "config.json: \"dropout\" is \"much\", expected a number");
  CHECK(message("rope_scaling", 4) == "config.json: \"rope_scaling\": is of type number, expected an object");
  CHECK(message("rope_scaling", {{"factor", 4}}) == "config.json: \"rope_scaling\": has no \"rope_type\"");
  ef::Json scaling = json["rope_scaling"];
  scaling["long_factor"] = {1, "2"};
  CHECK(message("rope_scaling", scaling) ==
        "config.json: \"rope_scaling\": \"long_factor\"[1] is \"2\", expected a number");
  CHECK(message("decoder_scores", {{"window", 4}}) ==
        "config.json: \"decoder_scores\" is {\"window\":4}, expected a list");
  CHECK(message("decoder_scores", ef::Json::array({{{"window", 4}, {"soft_cap", 0}, {"user_score", 3}}})) ==
        "config.json: \"decoder_scores\"[0]: \"user_score\" is 3, expected a text");
  CHECK(message("colour", 1) == "config.json: has \"colour\", which is not an option");
  CHECK(message("activation", "step").find("given \"step\"") != std::string::npos);
  CHECK(message("positions", "absolute").find("given \"absolute\"") != std::string::npos);
  json.erase("heads");
  CHECK(message("width", 8) == "config.json: has no \"heads\"");
}

TEST_CASE("a Transformer's options say which tensors it has", "[io]") {
  ef::TransformerOptions options = ef::testing::small_transformer();
  options.positions = GENERATE(from_range(ef::position_encodings));
  CAPTURE(ef::to_string(options.positions));
  options.num_decoder_layers = 3;
  const ef::NamedScores<float> scores{
      {"plain", ef::Causal{}},
      {"learned", ef::TrainableScore<float>([](auto s, const ef::ScorePosition&, const auto& p) { return s * p(0); },
                                            {{"factor", ef::Matrix<float>::Ones(2, 3)}})}};
  const auto check = [&] {
    ef::Rng rng(1);
    const ef::Transformer<float> model(options, rng, scores);
    CHECK(ef::testing::tensors_of_options(options, scores) == ef::testing::tensors_of_model(model));
  };
  check();
  options.layer.heads = 4;
  options.layer.key_heads = 2;
  options.layer.head_width = 6;
  options.layer.relative_values = false;
  options.layer.bias = false;
  options.layer.norm_first = true;
  check();
  options.share_embeddings = options.tie_output = false;
  options.target_vocabulary_size = 13;
  options.num_encoder_layers = 0;
  check();
  options.layer.qk_norm = ef::QueryKeyNorm::layer_norm;
  check();
  options.layer.norm_bias = false;
  check();
  options.layer.final_norm = ef::FinalNorm::never;
  check();
  options.layer.norm_first = false;
  options.layer.final_norm = ef::FinalNorm::always;
  check();
  options.num_encoder_layers = 2;
  options.memory_scores = {{.sinks = true}};
  options.decoder_scores = {{}, {.user_score = "learned", .sinks = true}};
  options.encoder_scores = {{.window = 2, .user_score = "learned"}, {.user_score = "plain"}};
  check();
  options.layer.sinks = true;
  check();
}
