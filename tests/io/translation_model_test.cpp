#include "eigenformer/io/translation_model.hpp"

#include <filesystem>

#include "eigenformer/core/folders.hpp"
#include "eigenformer/train/trainer.hpp"
#include "support/allocations.hpp"
#include "support/catch.hpp"
#include "support/contains.hpp"
#include "support/copy_task.hpp"
#include "support/letter_pairs.hpp"
#include "support/message_of.hpp"
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
      model, adam, [&] { return batches[next++]; },
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

TEST_CASE("a model is read whole where a save was interrupted", "[io]") {
  ef::Rng rng(95);
  const ef::TranslationModel<float> older = small_model(rng), newer = small_model(rng);
  const ef::testing::TemporaryFolder folder;
  const std::filesystem::path path = folder / "model", other = folder / "other";
  ef::check_saving(path);
  ef::save(path, older);
  ef::save(other, newer);
  const auto embedding = [&] {
    return transformer_of(ef::load_translation_model<float>(path)).source_embedding.weight.value;
  };
  CHECK(embedding() == transformer_of(older).source_embedding.weight.value);
  std::filesystem::rename(other, path / ef::detail::newer_files);
  std::filesystem::rename(path / ef::detail::newer_files / "config.json", path / "config.json");
  CHECK(embedding() == transformer_of(newer).source_embedding.weight.value);

  std::filesystem::remove(path / "source_vocabulary.txt");
  std::filesystem::create_directory(path / "source_vocabulary.txt");
  CHECK_THROWS_AS(ef::check_saving(path), ef::Error);
}

TEST_CASE("extra files are replaced together with the model, or not at all", "[io]") {
  ef::Rng rng(96);
  const ef::testing::TemporaryFolder folder;
  const std::filesystem::path path = folder.path() / "model";
  const auto save = [&](const std::string& record, const std::string& name) {
    const ef::ExtraFile files[] = {{"record.json", record}, {name, "b"}};
    const ef::TranslationModel<float> model = small_model(rng);
    ef::save(path, model, ef::WeightType::float32, files);
    return model;
  };
  const ef::TranslationModel<float> first = save("one", "other.txt");
  CHECK(ef::read_file(path / "record.json") == "one");
  CHECK(ef::read_file(path / "other.txt") == "b");
  std::filesystem::create_directory(path / "blocked");
  CHECK_THROWS_AS(save("two", "blocked"), ef::Error);
  CHECK(ef::read_file(path / "record.json") == "one");
  CHECK(transformer_of(ef::load_translation_model<float>(path)).source_embedding.weight.value ==
        transformer_of(first).source_embedding.weight.value);
  const ef::TranslationModel<float> third = save("three", "other.txt");
  CHECK(ef::read_file(path / "record.json") == "three");
  CHECK(transformer_of(ef::load_translation_model<float>(path)).source_embedding.weight.value ==
        transformer_of(third).source_embedding.weight.value);
}

TEST_CASE("an extra file may have no name but a plain one that the model does not use", "[io]") {
  ef::Rng rng(99);
  const ef::testing::TemporaryFolder folder;
  const std::filesystem::path path = folder.path() / "model";
  const auto message = [&](const std::string& name) {
    const ef::ExtraFile file{name, "bytes"};
    return ef::testing::message_of(
        [&] { ef::save(path, small_model(rng), ef::WeightType::float32, std::span(&file, 1)); });
  };
  CHECK(message("config.json") ==
        "save: an extra file is named \"config.json\", expected a name that the model's folder does not use itself");
  const std::string outside = (folder.path() / "outside").string();
  CHECK(message(outside) ==
        "save: an extra file is named \"" + outside + "\", expected the name of a file, without a folder");
  for (const char* const name : ef::detail::model_files) CHECK(message(name) != "nothing was thrown");
  for (const std::string& name : {std::string(), std::string("."), std::string(".."), std::string("../outside"),
                                  std::string("a/b"), std::string("a/"), std::string("config.json\0x", 13),
                                  std::string(".newer-files"), std::string(".unfinished-files-a.tmp")}) {
    CAPTURE(name);
    CHECK(message(name) != "nothing was thrown");
  }
  CHECK_FALSE(std::filesystem::exists(path));
  CHECK_FALSE(std::filesystem::exists(folder.path() / "outside"));
  CHECK(message(".record..json") == "nothing was thrown");
  CHECK(ef::read_file(path / ".record..json") == "bytes");
}

TEST_CASE("extra files have different names", "[io]") {
  ef::Rng rng(100);
  const ef::testing::TemporaryFolder folder;
  const auto message = [&](const std::string& second) {
    const ef::ExtraFile files[] = {{"record.json", "a"}, {"other", "b"}, {second, "c"}};
    return ef::testing::message_of(
        [&] { ef::save(folder.path() / "model", small_model(rng), ef::WeightType::float32, files); });
  };
  CHECK(message("record.json") ==
        "save: two extra files are named \"record.json\" and \"record.json\", expected names that differ by more than "
        "their case");
  CHECK(message("Record.JSON") ==
        "save: two extra files are named \"record.json\" and \"Record.JSON\", expected names that differ by more than "
        "their case");
  CHECK_FALSE(std::filesystem::exists(folder.path() / "model"));
  CHECK(message("record.jsonl") == "nothing was thrown");
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

TEST_CASE("a configuration that does not fit the tensors is refused before memory is allocated for it", "[io]") {
  ef::Rng rng(95);
  const ef::testing::TemporaryFolder folder;
  const std::filesystem::path path = folder.path() / "model";
  ef::TranslationModel<float> model = small_model(rng);
  std::vector<ef::Seq2Seq<float>> networks{model.network};
  ef::TransformerOptions transformer = ef::testing::small_transformer();
  for (const ef::PositionEncoding positions : {ef::PositionEncoding::learned, ef::PositionEncoding::bucketed}) {
    transformer.positions = positions;
    networks.emplace_back(ef::Transformer<float>(transformer, rng));
  }
  for (const ef::RecurrentSeq2SeqOptions& options : ef::testing::kinds_of_recurrent_models())
    networks.emplace_back(ef::RecurrentSeq2Seq<float>(options, rng));

  for (const ef::Seq2Seq<float>& network : networks) {
    model.network = network;
    ef::save(path, model);
    const ef::Json good = ef::parse_json(ef::read_file(path / "config.json"), "config.json");
    for (const auto& [option, value] : good["options"].items()) {
      if (!value.is_number_integer()) continue;
      for (const std::int64_t size : {std::int64_t{0}, std::int64_t{3}, std::int64_t{1} << 31, std::int64_t{-5}}) {
        ef::Json changed = good;
        changed["options"][option] = size;
        ef::write_file(path / "config.json", changed.dump());
        const ef::testing::AllocationCount large(1 << 20);
        bool loaded = true;
        std::string message;
        try {
          ef::load_translation_model<float>(path);
        } catch (const ef::Error& error) {
          loaded = false;
          message = error.what();
        }
        const std::size_t count = large.count();
        CAPTURE(option, size, message, changed.dump());
        CHECK(count == 0);
        if (size < 0) CHECK(message.find(option) != std::string::npos);
        if (size == std::int64_t{1} << 31 && (option == "width" || option.find("layers") != std::string::npos))
          CHECK_FALSE(loaded);
      }
    }
  }
}

TEST_CASE("a vocabulary file may come from another program", "[io]") {
  ef::Rng rng(96);
  const ef::testing::TemporaryFolder folder;
  const std::filesystem::path path = folder.path() / "model";
  const ef::TranslationModel<float> model = small_model(rng);
  ef::save(path, model);
  const auto with_vocabulary = [&](const std::string& text) {
    ef::write_file(path / "source_vocabulary.txt", text);
    return ef::load_translation_model<float>(path).source.vocabulary;
  };
  CHECK(with_vocabulary("\xEF\xBB\xBF<unk>\r\n<s>\r\n</s>\r\na\r\nb\r\nc\r\nd\r\ne\r\nf\r\ng\r\nh\r\n") ==
        model.source.vocabulary);
  const auto message = [&](const std::string& text) { return ef::testing::message_of([&] { with_vocabulary(text); }); };
  CHECK(message("<unk>\n<s>\n</s>\n\xFF\n").find("source_vocabulary.txt:4: invalid UTF-8 at byte 0") !=
        std::string::npos);
  CHECK(message("<unk>\n<s>\n</s>\na\nb\nc\nd\ne\nf\ng\nh").find("does not end with a line break") !=
        std::string::npos);
  CHECK(message("<unk>\n<s>\n</s>\na\na\n").find("source_vocabulary.txt: token 4, \"a\", is token 3 too") !=
        std::string::npos);
  CHECK(message("<unk>\n<s>\n").find("source_vocabulary.txt: 2 tokens, expected at least 3") != std::string::npos);
  ef::TranslationModel<float> unwritable = model;
  unwritable.source.vocabulary = ef::Vocabulary({"<unk>", "<s>", "</s>", "a\nb"});
  CHECK(ef::testing::message_of([&] { ef::save(folder.path() / "other", unwritable); }).find("has a line break") !=
        std::string::npos);
  unwritable.source.vocabulary = ef::Vocabulary({"<unk>", "<s>", "</s>", "a\xFF"});
  CHECK(ef::testing::message_of([&] { ef::save(folder.path() / "other", unwritable); }) ==
        "save: the token \"a\xEF\xBF\xBD\" is not UTF-8");
  const auto refusal = [](const std::string& token) {
    const ef::Vocabulary vocabulary({"<unk>", "<s>", "</s>", token});
    return ef::testing::message_of([&] { ef::check_saving(vocabulary, "a.spm"); });
  };
  const std::string expected = " has a line break, expected none: vocabularies have one token a line";
  CHECK(refusal("a\nb") == "a.spm: the token \"a\\nb\"" + expected);
  CHECK(refusal("a\r") == "a.spm: the token \"a\\r\"" + expected);
  CHECK(refusal("a\rb") == "nothing was thrown");
}

TEST_CASE("a model that could not be loaded again does not replace an older one", "[io]") {
  ef::Rng rng(98);
  const ef::testing::TemporaryFolder folder;
  const std::filesystem::path path = folder / "model";
  const ef::TranslationModel<float> good = small_model(rng);
  ef::save(path, good);
  const auto refusal = [&](auto change) {
    ef::TranslationModel<float> bad = good;
    change(bad);
    const std::string message = ef::testing::message_of([&] { ef::save(path, bad); });
    CHECK(ef::load_translation_model<float>(path).source.vocabulary == good.source.vocabulary);
    return message;
  };
  CHECK(refusal([](auto& model) { model.target.vocabulary = ef::Vocabulary(); }) ==
        "save: the vocabularies have 11 and 3 tokens, expected 11 and 11 by the model's options");
  CHECK(refusal([](auto& model) { model.source.subwords = std::make_shared<const ef::testing::LetterPairs>("xyz"); }) ==
        "save: the source subword model: has 0 of the 11 tokens of its vocabulary, expected most of them");
  CHECK(refusal([](auto& model) { transformer_of(model).options.encoder_scores = {{.user_score = "a\xFF"}}; }) ==
        "save: \"encoder_scores\"[0]: \"user_score\": invalid UTF-8 at byte 1");
  CHECK(
      refusal(
          [](auto& model) { transformer_of(model).encoder.layers[0].self_attn.sinks = ef::Parameter<float>(1, 2); }) ==
      "save: the parameter \"encoder.layers.0.self_attn.sinks\" is [1 x 2], expected none of this name by the model's "
      "options");
}

TEST_CASE("subword models travel in the folder", "[io]") {
  ef::Rng rng(97);
  const ef::testing::TemporaryFolder folder;
  const std::filesystem::path path = folder / "model";
  ef::TranslationModel<float> model = small_model(rng);
  const auto pairs = std::make_shared<const ef::testing::LetterPairs>("abc");
  const ef::Vocabulary vocabulary = ef::subword_vocabulary(*pairs);
  ef::TransformerOptions options = ef::testing::small_transformer();
  options.source_vocabulary_size = vocabulary.size();
  options.share_embeddings = false;
  model.network = ef::Transformer<float>(options, rng);
  model.source = {.vocabulary = vocabulary, .subwords = pairs};
  ef::save(path, model);
  CHECK(ef::testing::names_in(path) == std::vector<std::string>{"config.json", "model.safetensors", "source.spm",
                                                                "source_vocabulary.txt", "target_vocabulary.txt"});
  CHECK(ef::read_file(path / "source.spm") == "abc");

  const auto read = [](std::string bytes, const std::string& name) -> std::shared_ptr<const ef::SubwordModel> {
    ef::check(bytes.find('!') == std::string::npos, name, ": is damaged");
    return std::make_shared<const ef::testing::LetterPairs>(std::move(bytes));
  };
  const auto load = [&](const ef::SubwordReader& reader) {
    return ef::load_translation_model<float>(path, {}, reader);
  };
  const auto message = [&](const ef::SubwordReader& reader) { return ef::testing::message_of([&] { load(reader); }); };
  const ef::TranslationModel<float> loaded = load(read);
  CHECK(loaded.source.vocabulary == vocabulary);
  CHECK(loaded.source.tokenize("abc ca") == std::vector<std::string>{"_ab", "c", "_ca"});
  CHECK(loaded.target.subwords == nullptr);
  CHECK(loaded.target.tokenization == ef::Tokenization::characters);

  const std::string spm = ef::path_text(path / "source.spm");
  CHECK(message({}) == spm +
                           ": needs the library SentencePiece, which this program does not use; install it (Debian: " +
                           "libsentencepiece-dev), link eigenformer::sentencepiece, and pass read_sentencepiece " +
                           "(text/sentencepiece.hpp) to load_translation_model");
  ef::write_file(path / "source.spm", "ab!c");
  CHECK(message(read) == spm + ": is damaged");
  ef::write_file(path / "source.spm", "cde");
  CHECK(message(read) == spm + ": has 4 of the 27 tokens of its vocabulary, expected most of them");
  std::filesystem::remove(path / "source.spm");
  CHECK(ef::testing::contains(message(read), "source.spm: there is no such file"));

  // A model without subwords replaces one with them: the file of the old one is not read.
  ef::save(path, model);
  ef::save(path, small_model(rng));
  CHECK(load({}).source.subwords == nullptr);
}
