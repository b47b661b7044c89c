#include "eigenformer/io/translation_model.hpp"
#include "eigenformer/text/sentencepiece.hpp"
#include "support/catch.hpp"
#include "support/contains.hpp"
#include "support/copy_task.hpp"
#include "support/message_of.hpp"
#include "support/temporary_folder.hpp"

namespace ef = eigenformer;

TEST_CASE("a folder keeps the models of SentencePiece, one for each language or one for both", "[io]") {
  ef::Rng rng(98);
  const std::vector<std::string> lines{"the house", "the playhouse", "a play in the house", "houses and plays"};
  const ef::testing::TemporaryFolder folder;
  const std::filesystem::path path = folder / "model";
  const auto unigram = ef::train_sentencepiece(lines, {.vocabulary_size = 40});
  const auto bpe = ef::train_sentencepiece(lines, {.vocabulary_size = 30, .type = ef::SubwordType::bpe});
  for (const auto& target : {bpe, unigram}) {
    ef::TransformerOptions options = ef::testing::small_transformer();
    ef::TranslationModel<float> model;
    model.source = {.vocabulary = ef::subword_vocabulary(*unigram), .subwords = unigram};
    model.target = {.vocabulary = ef::subword_vocabulary(*target), .subwords = target};
    options.source_vocabulary_size = model.source.vocabulary.size();
    options.target_vocabulary_size = model.target.vocabulary.size();
    options.share_embeddings = target == unigram;
    model.network = ef::Transformer<float>(options, rng);
    ef::save(path, model);
    const auto loaded = ef::load_translation_model<float>(path, {}, ef::read_sentencepiece);
    CHECK(loaded.source.subwords->bytes() == unigram->bytes());
    CHECK(loaded.target.subwords->bytes() == target->bytes());
    CHECK(loaded.target.subwords->type() == target->type());
    for (const std::string& line : lines) {
      CHECK(loaded.source.encode(line) == model.source.encode(line));
      CHECK(loaded.target.decode(loaded.target.encode(line)) == line);
    }
  }
  const std::string bytes = ef::read_file(path / "target.spm");
  ef::write_file(path / "target.spm", std::string_view(bytes).substr(0, bytes.size() - 100));
  const std::string message =
      ef::testing::message_of([&] { ef::load_translation_model<float>(path, {}, ef::read_sentencepiece); });
  CAPTURE(message);
  CHECK(message.find(ef::path_text(path / "target.spm") + ": is no SentencePiece model, or damaged") == 0);
}
