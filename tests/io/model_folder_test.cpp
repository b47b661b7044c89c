#include "eigenformer/io/model_folder.hpp"

#include <array>
#include <filesystem>
#include <string>

#include "eigenformer/io/translation_model.hpp"
#include "eigenformer/kernels/scores/score_function.hpp"
#include "support/catch.hpp"
#include "support/contains.hpp"
#include "support/copy_task.hpp"
#include "support/message_of.hpp"
#include "support/random.hpp"
#include "support/recurrent_models.hpp"
#include "support/temporary_folder.hpp"

namespace ef = eigenformer;
using ef::testing::contains;
using ef::testing::message_of;

namespace {

template <class Model>
ef::Matrix<float> logits_of(const Model& model, const ef::TranslationBatch& batch) {
  return model({}, batch.source, batch.target).value();
}

void check_contains(const std::string& message, const std::string& part) {
  INFO(message);
  CHECK(message.find(part) != std::string::npos);
}

}  // namespace

TEST_CASE("a folder gives back a Transformer and its options", "[io]") {
  ef::Rng rng(191);
  ef::TransformerOptions options = ef::testing::small_transformer();
  options.layer.bias = options.layer.norm_bias = false;
  options.layer.final_norm = ef::FinalNorm::always;
  options.layer.activation = ef::Activation::gelu;
  options.positions = ef::PositionEncoding::rotary;
  const ef::Transformer<float> model(options, rng);
  const ef::testing::TemporaryFolder folder;
  ef::save(folder / "model", model);
  CHECK(ef::testing::names_in(folder / "model") == std::vector<std::string>{"config.json", "model.safetensors"});
  const auto loaded = ef::load<ef::Transformer<float>>(folder / "model");
  CHECK(ef::options_to_json(loaded.options) == ef::options_to_json(options));
  const ef::TranslationBatch batch = ef::testing::copy_batch({3, 5}, rng);
  CHECK(logits_of(loaded, batch) == logits_of(model, batch));
  const auto wide = ef::load<ef::Transformer<double>>(folder / "model");
  CHECK(wide.source_embedding.weight.value == model.source_embedding.weight.value.cast<double>());
}

TEST_CASE("a model loaded from bfloat16 or int8 weights decodes like one packed from floats", "[io]") {
  const std::uint64_t seed = 197;
  CAPTURE(seed);
  ef::Rng rng(seed);
  const ef::testing::TemporaryFolder folder;
  const ef::TranslationBatch batch = ef::testing::copy_batch({3, 5}, rng);
  const auto check = [&](const auto& model) {
    using Model = std::decay_t<decltype(model)>;
    for (const ef::WeightType type : ef::values_of<ef::WeightType>()) {
      CAPTURE(to_string(type));
      ef::save(folder / "model", model, type);
      const Model loaded = ef::load<Model>(folder / "model");
      const ef::PackedWeights<float> packed(model, type), packed_loaded(loaded, type);
      CHECK(loaded({.packed = &packed_loaded}, batch.source, batch.target).value() ==
            model({.packed = &packed}, batch.source, batch.target).value());
    }
  };
  const ef::Transformer<float> transformer(ef::testing::small_transformer(), rng);
  check(transformer);
  check(ef::RecurrentSeq2Seq<float>(ef::testing::small_recurrent(), rng));
  const auto bytes = [&](ef::WeightType type) {
    ef::save(folder / "model", transformer, type);
    return std::filesystem::file_size(ef::newest_file(folder / "model", "model.safetensors"));
  };
  CHECK(bytes(ef::WeightType::int8) < bytes(ef::WeightType::bfloat16));
  CHECK(bytes(ef::WeightType::bfloat16) < bytes(ef::WeightType::float32));
}

TEST_CASE("a folder holds the scores of layers, those of users by name", "[io]") {
  ef::Rng rng(196);
  ef::TransformerOptions options = ef::testing::small_transformer();
  options.positions = ef::PositionEncoding::rotary;
  options.rope_scaling = {.rope_type = ef::RopeType::linear, .factor = 2};
  options.layer.qk_norm = ef::QueryKeyNorm::rms_norm;
  options.encoder_scores = {{.window = 2}, {.soft_cap = 0.5}};
  options.decoder_scores = {{.user_score = "decay"}};
  const ef::NamedScores<float> scores{
      {"decay", ef::score([](auto s, const ef::ScorePosition& at) { return s - 0.5F * static_cast<float>(at.key); })}};
  const ef::Transformer<float> model(options, rng, scores);
  const ef::testing::TemporaryFolder folder;
  ef::save(folder / "model", model);
  const ef::TranslationBatch batch = ef::testing::copy_batch({3, 5}, rng);
  const auto loaded = ef::load<ef::Transformer<float>>(folder / "model", scores);
  CHECK(logits_of(loaded, batch) == logits_of(model, batch));
  const auto other =
      ef::load<ef::Transformer<float>>(folder / "model", ef::NamedScores<float>{{"decay", ef::Causal{}}});
  CHECK(logits_of(other, batch) != logits_of(model, batch));
  check_contains(message_of([&] { ef::load<ef::Transformer<float>>(folder / "model"); }),
                 "the score \"decay\" is not among the named scores");
}

TEST_CASE("a folder holds the parameters of learned scores, and sinks", "[io]") {
  const std::uint64_t seed = 197;
  CAPTURE(seed);
  ef::Rng rng(seed);
  ef::TransformerOptions options = ef::testing::small_transformer();
  options.encoder_scores = {{.window = 2, .sinks = true}, {.user_score = "decay"}};
  options.decoder_scores = {{.user_score = "decay"}};
  options.memory_scores = {{.user_score = "decay", .sinks = true}};
  const auto decay = [](auto s, const ef::ScorePosition& at, const auto& slope) {
    return s - slope(at.head) * static_cast<float>(at.key);
  };
  const auto scores_of = [&](const char* name, ef::Index slopes) {
    return ef::NamedScores<float>{
        {"decay", ef::TrainableScore<float>(decay, {{name, ef::Matrix<float>::Constant(1, slopes, 0.25F)}})}};
  };
  ef::Transformer<float> model(options, rng, scores_of("slope", 2));
  std::vector<std::string> names;
  ef::for_each_parameter(model, [&](const std::string& name, ef::Parameter<float>& parameter) {
    if (name.find(".score.") == std::string::npos && name.find(".sinks") == std::string::npos) return;
    names.push_back(name);
    parameter.value = ef::testing::random_matrix<float>(1, 2, rng);  // as after training
  });
  CHECK(names == std::vector<std::string>{
                     "encoder.layers.0.self_attn.sinks", "encoder.layers.1.self_attn.score.slope",
                     "decoder.layers.0.self_attn.score.slope", "decoder.layers.0.multihead_attn.sinks",
                     "decoder.layers.0.multihead_attn.score.slope", "decoder.layers.1.self_attn.score.slope",
                     "decoder.layers.1.multihead_attn.sinks", "decoder.layers.1.multihead_attn.score.slope"});
  const ef::testing::TemporaryFolder folder;
  const std::filesystem::path path = folder / "model";
  ef::save(path, model);
  const ef::TranslationBatch batch = ef::testing::copy_batch({3, 5}, rng);
  CHECK(logits_of(ef::load<ef::Transformer<float>>(path, scores_of("slope", 2)), batch) == logits_of(model, batch));

  const auto message = [&](const ef::NamedScores<float>& scores) {
    return message_of([&] { ef::load<ef::Transformer<float>>(path, scores); });
  };
  CHECK(
      message({}) ==
      "LayerScore: the score \"decay\" is not among the named scores; give it to the model's constructor or to load()");
  CHECK(message_of([&] { ef::load<ef::Transformer<float>>(path); }) == message({}));
  check_contains(message(scores_of("slope", 3)),
                 "config.json: tensor \"encoder.layers.1.self_attn.score.slope\" is [1 x 2], expected [1 x 3]");
  check_contains(message(scores_of("slant", 2)),
                 "config.json: has no tensor \"encoder.layers.1.self_attn.score.slant\"");
  check_contains(message({{"decay", ef::Causal{}}}), ".score.slope\" is not one of the model's parameters");

  const ef::Vocabulary letters({"<unk>", "<s>", "</s>", "a", "b", "c", "d", "e", "f", "g", "h"});
  ef::save(path, ef::TranslationModel<float>{model, {letters, {}}, {letters, {}}});
  const auto translation = ef::load_translation_model<float>(path, scores_of("slope", 2));
  CHECK(logits_of(std::get<ef::Transformer<float>>(translation.network), batch) == logits_of(model, batch));
  CHECK(message_of([&] { ef::load_translation_model<float>(path); }) == message({}));
}

TEST_CASE("a model whose parameters are not those of its options is not saved", "[io]") {
  ef::Rng rng(198);
  ef::TransformerOptions options = ef::testing::small_transformer();
  options.decoder_scores = {{.user_score = "decay"}};
  const auto slope = [](auto s, const ef::ScorePosition&, const auto& a) { return s * a(0); };
  const auto learned = [&](const char* name, ef::Index size) {
    return ef::TrainableScore<float>(slope, {{name, ef::Matrix<float>::Ones(1, size)}});
  };
  const ef::Transformer<float> good(options, rng, {{"decay", learned("slope", 2)}});
  const ef::testing::TemporaryFolder folder;
  const auto refusal = [&](auto change) {
    ef::Transformer<float> bad = good;
    change(bad);
    const std::string message = message_of([&] { ef::save(folder / "model", bad); });
    CHECK_FALSE(std::filesystem::exists(folder / "model"));
    return message;
  };
  CHECK(refusal([&](auto& model) { model.encoder.layers[1].self_attn.score = learned("tilt", 2); }) ==
        "save: the parameter \"encoder.layers.1.self_attn.score.tilt\" is [1 x 2], expected none of this name by the "
        "model's options");
  CHECK(refusal([&](auto& model) { model.decoder.layers[1].self_attn.score = learned("slope", 3); }) ==
        "save: the parameter \"decoder.layers.1.self_attn.score.slope\" is [1 x 3], expected [1 x 2] by the model's "
        "options");
  CHECK(refusal([&](auto& model) { model.decoder.layers[1].self_attn.score = {}; }) ==
        "save: the model has no parameter \"decoder.layers.1.self_attn.score.slope\"; by its options it has one of [1 "
        "x 2]");
  CHECK(
      refusal([](auto& model) { model.encoder.layers[0].self_attn.sinks = ef::Parameter<float>(1, 2); }) ==
      "save: the parameter \"encoder.layers.0.self_attn.sinks\" is [1 x 2], expected none of this name by the model's "
      "options");
  const std::string by_hand = "save: the score of \"encoder.layers.1.self_attn\" is set by hand, expected ";
  CHECK(refusal([](auto& model) { model.encoder.layers[1].self_attn.score = ef::SlidingWindow(3); }) ==
        by_hand + "none by the model's options");
  CHECK(refusal([](auto& model) { model.options.encoder_scores = {{.window = 3}}; }) ==
        "save: the score of \"encoder.layers.0.self_attn\" is none, expected {window: 3} by the model's options");
  CHECK(refusal([&](auto& model) { model.decoder.layers[1].self_attn.score = learned("slope", 2); }) ==
        "save: the score of \"decoder.layers.1.self_attn\" is set by hand, expected {user_score: \"decay\"} by the "
        "model's options");
  CHECK(refusal([](auto& model) {
          auto& layer = model.decoder.layers[0].multihead_attn;
          layer.score = layer.score.combined_with(ef::SoftCap(0.25));
        }) ==
        "save: the score of \"decoder.layers.0.multihead_attn\" is set by hand, expected none by the model's options");
  CHECK(
      refusal([](auto& model) {
        ef::LayerScore{.window = 2, .soft_cap = 0.25}.apply_to(model.encoder.layers[1].self_attn);
      }) ==
      "save: the score of \"encoder.layers.1.self_attn\" is {window: 2, soft_cap: 0.25}, expected none by the model's "
      "options");
  CHECK(refusal([](auto& model) {
          model.encoder.layers.pop_back();
        }).find("save: the model has no parameter \"encoder.layers.1.self_attn.q.weight\"") == 0);
  CHECK(refusal([](auto& model) { model = {}; }) ==
        "save: the model has no parameter \"source_embedding.weight\"; by its options it has one of [0 x 512]");
  CHECK(message_of([&] {
          ef::save(folder / "model", ef::RecurrentSeq2Seq<float>());
        }).find("save: the model has no parameter \"source_embedding.weight\"") == 0);
  ef::save(folder / "model", good);
  ef::Transformer<float> unchanged = good;
  unchanged.encoder.layers[0].self_attn.score = ef::Unmasked{};
  unchanged.decoder.layers[0].self_attn.score = good.decoder.layers[1].self_attn.score;
  ef::save(folder / "model", unchanged);
}

TEST_CASE("a folder gives back a recurrent model and its options", "[io]") {
  ef::Rng rng(192);
  for (const ef::RecurrentSeq2SeqOptions& options : ef::testing::kinds_of_recurrent_models()) {
    const ef::RecurrentSeq2Seq<float> model(options, rng);
    const ef::testing::TemporaryFolder folder;
    ef::save(folder / "model", model);
    const auto loaded = ef::load<ef::RecurrentSeq2Seq<float>>(folder / "model");
    const ef::TranslationBatch batch = ef::testing::copy_batch({3, 5}, rng);
    CHECK(logits_of(loaded, batch) == logits_of(model, batch));
  }
}

TEST_CASE("a translation model's folder gives its network alone, but not the other way round", "[io]") {
  ef::Rng rng(193);
  const ef::Vocabulary letters({"<unk>", "<s>", "</s>", "a", "b", "c", "d", "e", "f", "g", "h"});
  const ef::Transformer<float> model(ef::testing::small_transformer(), rng);
  const ef::testing::TemporaryFolder folder;
  ef::save(folder / "model", ef::TranslationModel<float>{model, {letters, {}}, {letters, {}}});
  const ef::TranslationBatch batch = ef::testing::copy_batch({3, 5}, rng);
  CHECK(logits_of(ef::load<ef::Transformer<float>>(folder / "model"), batch) == logits_of(model, batch));
  ef::save(folder / "model", model);
  check_contains(message_of([&] { ef::load_translation_model<float>(folder / "model"); }),
                 "config.json: has no \"source_tokens\", expected a model with vocabularies");
}

TEST_CASE("a folder that does not hold the model is refused, and the message names the file", "[io]") {
  ef::Rng rng(194);
  const ef::testing::TemporaryFolder folder;
  const std::filesystem::path path = folder / "model";
  const auto message = [&] { return message_of([&] { ef::load<ef::Transformer<float>>(path); }); };
  check_contains(message(), "config.json");
  ef::save(path, ef::RecurrentSeq2Seq<float>(ef::testing::small_recurrent(), rng));
  check_contains(message(), "config.json: \"model_type\" is \"recurrent_seq2seq\", expected \"transformer\"");
  ef::save(path, ef::Transformer<float>(ef::testing::small_transformer(), rng));
  ef::Json config = ef::parse_json(ef::read_file(path / "config.json"), "config.json");
  config["options"]["width"] = 18;
  ef::write_file(path / "config.json", config.dump());
  check_contains(message(), "model.safetensors does not fit");
  ef::write_file(path / "config.json", R"({"model_type": "transformer"})");
  check_contains(message(), "config.json: has no \"options\"");
}

TEST_CASE("a network is read whole where a save was interrupted", "[io]") {
  ef::Rng rng(195);
  const ef::Transformer<float> older(ef::testing::small_transformer(), rng);
  const ef::Transformer<float> newer(ef::testing::small_transformer(), rng);
  const ef::testing::TemporaryFolder folder;
  ef::save(folder / "model", older);
  ef::save(folder / "other", newer);
  std::filesystem::rename(folder / "other", folder / "model" / ef::detail::newer_files);
  CHECK(ef::load<ef::Transformer<float>>(folder / "model").source_embedding.weight.value ==
        newer.source_embedding.weight.value);
}

TEST_CASE("a model that is saved while it is read is read again", "[io]") {
  const std::array<const char*, 1> names{"a"};
  const ef::testing::TemporaryFolder folder;
  ef::write_file(folder / "a", "first");
  std::filesystem::last_write_time(folder / "a", std::filesystem::file_time_type());  // long ago
  int calls = 0;
  const auto read_and_write = [&](int writes) {
    return ef::detail::read_unchanged(folder.path(), names, [&] {
      const std::string text = ef::read_file(folder / "a");
      if (++calls <= writes) ef::write_file(folder / "a", "call " + std::to_string(calls));
      return text;
    });
  };
  CHECK(read_and_write(1) == "call 1");
  CHECK(calls == 2);
  calls = 0;
  const std::string missing = message_of([&] {
    ef::detail::read_unchanged(folder.path(), names, [&]() -> int {
      ++calls;
      return static_cast<int>(ef::read_file(folder / "b").size());
    });
  });
  CHECK(contains(missing, "b: there is no such file"));
  CHECK(calls == 2);
}
