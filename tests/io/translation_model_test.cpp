#include "eigenformer/io/translation_model.hpp"

#include <filesystem>

#include "eigenformer/io/files.hpp"
#include "eigenformer/train/trainer.hpp"
#include "support/catch.hpp"
#include "support/copy_task.hpp"
#include "support/recurrent_models.hpp"
#include "support/temporary_folder.hpp"

namespace ef = eigenformer;
using ef::testing::copy_batch;
using ef::testing::loss_of;

namespace {

ef::TranslationModel<float> small_model(ef::Rng& rng) {
  const ef::Vocabulary letters({"<unk>", "<s>", "</s>", "a", "b", "c", "d", "e", "f", "g", "h"});
  return {ef::Transformer<float>(ef::testing::small_transformer(), rng),
          {letters, ef::Tokenization::words},
          {letters, ef::Tokenization::characters}};
}

const ef::Transformer<float>& transformer_of(const ef::TranslationModel<float>& model) {
  return std::get<ef::Transformer<float>>(model.network);
}
ef::Transformer<float>& transformer_of(ef::TranslationModel<float>& model) {
  return std::get<ef::Transformer<float>>(model.network);
}

void train_on(ef::Transformer<float>& model, ef::Adam<float>& adam, const std::vector<ef::TranslationBatch>& batches) {
  std::size_t next = 0;
  ef::train(
      model, adam, ef::Context<float>{}, [&] { return batches[next++]; },
      [&](const ef::Context<float>& context, const ef::TranslationBatch& batch) {
        return ef::BatchLoss<float>{loss_of(model, context, batch), 1};
      },
      [&](const ef::TrainingProgress&) { return next < batches.size(); });
}

}  // namespace

TEST_CASE("a model folder gives back the model, its vocabularies and its outputs", "[io]") {
  ef::Rng rng(91);
  const ef::TranslationModel<float> model = small_model(rng);
  const ef::testing::TemporaryFolder folder;
  ef::save(folder.path() / "model", model);
  const ef::TranslationModel<float> loaded = ef::load_translation_model<float>(folder.path() / "model");
  CHECK(loaded.source.vocabulary == model.source.vocabulary);
  CHECK(loaded.source.tokenization == ef::Tokenization::words);
  CHECK(loaded.target.tokenization == ef::Tokenization::characters);
  const ef::TranslationBatch batch = copy_batch({3, 5}, rng);
  CHECK(transformer_of(loaded)({}, batch.source, batch.target).value() ==
        transformer_of(model)({}, batch.source, batch.target).value());
}

TEST_CASE("a folder of a recurrent model gives it back too", "[io]") {
  ef::Rng rng(94);
  for (const ef::RecurrentSeq2SeqOptions& options : ef::testing::kinds_of_recurrent_models()) {
    ef::TranslationModel<float> model = small_model(rng);
    model.network = ef::RecurrentSeq2Seq<float>(options, rng);
    const ef::testing::TemporaryFolder folder;
    ef::save(folder.path() / "model", model);
    const ef::TranslationModel<float> loaded = ef::load_translation_model<float>(folder.path() / "model");
    const ef::TranslationBatch batch = copy_batch({3, 5}, rng);
    const auto logits = [&](const ef::TranslationModel<float>& of) {
      return std::get<ef::RecurrentSeq2Seq<float>>(of.network)({}, batch.source, batch.target).value();
    };
    CHECK(logits(loaded) == logits(model));
  }
}

TEST_CASE("save, load and continue: training goes on as if it had never stopped", "[io]") {
  ef::Rng rng(92);
  ef::TranslationModel<float> model = small_model(rng);
  std::vector<ef::TranslationBatch> first, second;
  for (int i = 0; i < 3; ++i) first.push_back(copy_batch({3, 6}, rng));
  for (int i = 0; i < 3; ++i) second.push_back(copy_batch({4, 2}, rng));
  ef::Adam<float> adam;
  train_on(transformer_of(model), adam, first);
  const ef::testing::TemporaryFolder folder;
  ef::save(folder.path() / "model", model);
  ef::save_parameters(folder.path() / "adam.safetensors", adam);
  train_on(transformer_of(model), adam, second);

  ef::TranslationModel<float> loaded = ef::load_translation_model<float>(folder.path() / "model");
  ef::Adam<float> restored;
  restored.restore(transformer_of(loaded), 3);
  ef::load_parameters(ef::SafetensorsFile(folder.path() / "adam.safetensors"), restored);
  train_on(transformer_of(loaded), restored, second);
  std::vector<ef::Matrix<float>> expected, given;
  ef::for_each_parameter(transformer_of(model), [&](const auto&, const auto& p) { expected.push_back(p.value); });
  ef::for_each_parameter(transformer_of(loaded), [&](const auto&, const auto& p) { given.push_back(p.value); });
  CHECK(given == expected);
}

TEST_CASE("a damaged model folder is refused, and the message names the file", "[io]") {
  ef::Rng rng(93);
  const ef::testing::TemporaryFolder folder;
  const std::filesystem::path path = folder.path() / "model";
  ef::save(path, small_model(rng));
  const auto message = [&] {
    try {
      ef::load_translation_model<float>(path);
    } catch (const ef::Error& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  CHECK(message().empty());
  const auto says = [&](const char* file) { return message().find(file) != std::string::npos; };
  SECTION("a file is missing") {
    const auto file = GENERATE(as<std::string>(), "config.json", "model.safetensors", "source_vocabulary.txt");
    std::filesystem::remove(path / file);
    CHECK(says(file.c_str()));
  }
  SECTION("the parameters are truncated") {
    const std::string bytes = ef::read_file(path / "model.safetensors");
    ef::write_file(path / "model.safetensors", std::string_view(bytes).substr(0, bytes.size() - 5));
    CHECK(says("model.safetensors"));
  }
  SECTION("the vocabulary is another") {
    ef::write_file(path / "target_vocabulary.txt", "<unk>\n<s>\n</s>\nx\n");
    CHECK(says("config.json"));
    ef::write_file(path / "target_vocabulary.txt", "no vocabulary");
    CHECK(says("target_vocabulary.txt"));
  }
  SECTION("the configuration is foreign") {
    ef::write_file(path / "config.json", "{\"model_type\": \"bert\"}");
    CHECK(says("config.json"));
    ef::write_file(path / "config.json", "not JSON");
    CHECK(says("config.json"));
  }
}
