#include "eigenformer/text/vocabulary.hpp"

#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/message_of.hpp"

namespace ef = eigenformer;
using ef::Vocabulary;
using ef::testing::message_of;
using Strings = std::vector<std::string>;
using Ids = std::vector<ef::Token>;

namespace {

const std::vector<Strings> sentences{{"the", "cat", "saw", "the", "dog"}, {"the", "dog", "ran"}, {"\xC3\xA9", "Dog"}};

Strings tokens_of(const Vocabulary& vocabulary) {
  return {vocabulary.tokens().begin(), vocabulary.tokens().end()};
}

}  // namespace

TEST_CASE("a vocabulary is ordered by count, then by bytes", "[text]") {
  const Vocabulary vocabulary = Vocabulary::of(sentences);
  CHECK(tokens_of(vocabulary) == Strings{"<unk>", "<s>", "</s>", "the", "dog", "Dog", "cat", "ran", "saw", "\xC3\xA9"});
  CHECK(vocabulary.size() == 10);
  CHECK(tokens_of(Vocabulary::of(sentences, {.min_count = 2})) == Strings{"<unk>", "<s>", "</s>", "the", "dog"});
  CHECK(tokens_of(Vocabulary::of(sentences, {.max_size = 6})) == Strings{"<unk>", "<s>", "</s>", "the", "dog", "Dog"});
  CHECK(Vocabulary::of(sentences, {.max_size = 3}).size() == 3);
  CHECK(Vocabulary::of(sentences, {.min_count = 3, .max_size = 6}).size() == 4);
  CHECK(Vocabulary::of(std::vector<Strings>{}) == Vocabulary());
  ef::TokenCounts counts;
  for (const Strings& sentence : sentences) counts.add(sentence);
  CHECK(Vocabulary::of(counts) == vocabulary);
  CHECK(Vocabulary::of(counts, {.min_count = 2}) == Vocabulary::of(sentences, {.min_count = 2}));
  CHECK(Vocabulary::of(ef::TokenCounts()) == Vocabulary());
}

TEST_CASE("a vocabulary is made again of its tokens", "[text]") {
  const Vocabulary vocabulary = Vocabulary::of(sentences);
  const Vocabulary again(tokens_of(vocabulary));
  CHECK(again == vocabulary);
  CHECK(again.id("ran") == vocabulary.id("ran"));
  CHECK_FALSE(Vocabulary() == vocabulary);
}

TEST_CASE("tokens have numbers and numbers have tokens", "[text]") {
  const Vocabulary vocabulary = Vocabulary::of(sentences);
  for (ef::Token id = 0; id < vocabulary.size(); ++id) CHECK(vocabulary.id(vocabulary.token(id)) == id);
  CHECK(vocabulary.token(Vocabulary::unknown) == "<unk>");
  CHECK(vocabulary.token(Vocabulary::begin) == "<s>");
  CHECK(vocabulary.token(Vocabulary::end) == "</s>");
  CHECK(vocabulary.contains("cat"));
  CHECK_FALSE(vocabulary.contains("ca"));
  CHECK(vocabulary.id("ca") == Vocabulary::unknown);
  CHECK(vocabulary.id(std::string_view("cats").substr(0, 3)) == vocabulary.id("cat"));

  const Vocabulary copy = vocabulary;  // its look-ups do not refer to the original
  CHECK(copy.id("dog") == 4);
}

TEST_CASE("counts of parts are added and removed", "[text]") {
  ef::TokenCounts whole, part, rest;
  part.add(Strings{"a", "b", "a"});
  rest.add(Strings{"b", "c"});
  whole.add(part);
  whole.add(rest);
  CHECK(whole.counts() == std::unordered_map<std::string, ef::Index>{{"a", 2}, {"b", 2}, {"c", 1}});
  whole.remove(part);
  CHECK(whole.counts() == rest.counts());
  CHECK_THROWS_AS(whole.remove(part), ef::Error);
  whole.remove(whole);
  CHECK(whole.counts().empty());
}

TEST_CASE("sentences are encoded and decoded", "[text]") {
  const Vocabulary vocabulary = Vocabulary::of(sentences);
  CHECK(vocabulary.encode(Strings{"the", "bird", "ran"}) == Ids{3, 0, 7});
  CHECK(vocabulary.encode(Strings{}).empty());
  CHECK(vocabulary.decode(Ids{1, 3, 0, 7, 2}) == Strings{"the", "<unk>", "ran"});
  CHECK(vocabulary.decode(Ids{1, 2}).empty());
}

TEST_CASE("a text cannot say a special token", "[text]") {
  const std::vector<Strings> texts{{"<s>", "</s>", "</s>", "<unk>", "", "a"}};
  const Vocabulary vocabulary = Vocabulary::of(texts);
  CHECK(tokens_of(vocabulary) == Strings{"<unk>", "<s>", "</s>", "a"});
  CHECK(vocabulary.encode(texts[0]) == Ids{0, 0, 0, 0, 0, 3});
  CHECK(vocabulary.id("</s>") == Vocabulary::end);
}

TEST_CASE("what is no vocabulary is refused", "[text]") {
  const auto message = [](const Strings& tokens) { return message_of([&] { Vocabulary v(tokens); }); };
  CHECK(message({}) == "Vocabulary: 0 tokens, expected at least 3: <unk>, <s>, </s>");
  CHECK(message({"<unk>", "<s>"}) == "Vocabulary: 2 tokens, expected at least 3: <unk>, <s>, </s>");
  CHECK(message({"<s>", "<unk>", "</s>"}) == "Vocabulary: token 0 is \"<s>\", expected \"<unk>\"");
  CHECK(message({"<unk>", "<s>", "a", "</s>"}) == "Vocabulary: token 2 is \"a\", expected \"</s>\"");
  CHECK(message({"<unk>", "<s>", "</s>", "a", ""}) == "Vocabulary: token 4 is empty");
  CHECK(message({"<unk>", "<s>", "</s>", "a", "b", "a"}) == "Vocabulary: token 5, \"a\", is token 3 too");
  CHECK(message({"<unk>", "<s>", "</s>", "<s>"}) == "Vocabulary: token 3, \"<s>\", is token 1 too");

  const Vocabulary vocabulary;
  CHECK(message_of([&] { vocabulary.token(3); }) == "Vocabulary: there is no token 3, only 0 to 2");
  CHECK(message_of([&] { vocabulary.token(-1); }) == "Vocabulary: there is no token -1, only 0 to 2");
  CHECK(message_of([&] { vocabulary.decode(Ids{0, 5}); }) == "Vocabulary: there is no token 5, only 0 to 2");
  CHECK(message_of([&] { Vocabulary::of(sentences, {.max_size = 2}); }) ==
        "Vocabulary: max_size is 2, expected 0 or at least 3");
  CHECK(message_of([&] { Vocabulary::of(sentences, {.max_size = -1}); }) ==
        "Vocabulary: max_size is -1, expected 0 or at least 3");
  CHECK(message_of([&] { Vocabulary::of(sentences, {.min_count = -1}); }) ==
        "Vocabulary: min_count is -1, expected 0 or more");
}
