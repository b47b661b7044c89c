#include "eigenformer/models/translation_model.hpp"

#include "support/catch.hpp"
#include "support/letter_pairs.hpp"

namespace ef = eigenformer;

TEST_CASE("a side of a translation model turns text into tokens and back", "[models]") {
  const ef::TranslationSide side{ef::Vocabulary({"<unk>", "<s>", "</s>", "hello", "world"}), ef::Tokenization::words};
  CHECK(side.encode("hello  new world") == std::vector<ef::Token>{3, 0, 4});
  CHECK(side.decode(std::vector<ef::Token>{3, 4}) == "hello world");
}

TEST_CASE("a side whose text has marks of subword-nmt joins its words", "[models]") {
  const ef::TranslationSide side{ef::Vocabulary({"<unk>", "<s>", "</s>", "play@@", "house"}),
                                 ef::Tokenization::bpe_marks};
  CHECK(side.encode("play@@ house x@@") == std::vector<ef::Token>{3, 4, 0});
  CHECK(side.decode(std::vector<ef::Token>{3, 4, 4}) == "playhouse house");
}

TEST_CASE("a side with a subword model finds its pieces in the vocabulary by name", "[models]") {
  const auto pairs = std::make_shared<const ef::testing::LetterPairs>("abc");
  ef::TranslationSide side{.vocabulary = ef::subword_vocabulary(*pairs), .subwords = pairs};
  CHECK(side.vocabulary.size() == 3 + 2 * (3 + 9));
  CHECK(side.tokenize("abc  ca") == std::vector<std::string>{"_ab", "c", "_ca"});
  CHECK(side.decode(side.encode("abc  ca")) == "abc ca");
  CHECK(side.encode("abd") == std::vector<ef::Token>{side.vocabulary.id("_ab"), ef::Vocabulary::unknown});

  ef::Rng rng(1);
  int others = 0;
  for (int i = 0; i < 20; ++i) {
    const std::vector<ef::Token> drawn = side.sample("abcabc", {}, rng);
    others += drawn != side.encode("abcabc") ? 1 : 0;
    CHECK(side.decode(drawn) == "abcabc");
  }
  CHECK(others > 5);

  side.vocabulary = ef::Vocabulary({"<unk>", "<s>", "</s>", "c", "_ca", "_ab"});  // another program's numbers
  CHECK(side.encode("abc  ca") == std::vector<ef::Token>{5, 3, 4});
  CHECK(side.decode(std::vector<ef::Token>{5, 3, 4}) == "abc ca");
  const ef::TranslationSide words{ef::Vocabulary({"<unk>", "<s>", "</s>", "a"}), ef::Tokenization::words};
  CHECK(words.sample("a b", {}, rng) == words.encode("a b"));
}
