#include "translate/demo_corpus.hpp"

#include <algorithm>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "support/catch.hpp"

namespace ef = eigenformer;

namespace {

/// Splits at single spaces. An empty word means a superfluous space.
std::vector<std::string> words_of(std::string_view sentence) {
  std::vector<std::string> words{""};
  for (const char c : sentence)
    if (c == ' ')
      words.emplace_back();
    else
      words.back() += c;
  return words;
}

/// Returns the 64-bit FNV-1a hash.
std::uint64_t hash_of(const ef::ParallelCorpus& corpus) {
  std::uint64_t hash = 0xCBF29CE484222325;
  const auto add = [&](std::string_view text, char end) {
    for (const char c : std::string(text) + end) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3;
  };
  for (std::size_t i = 0; i < corpus.source.size(); ++i) {
    add(corpus.source[i], '\t');
    add(corpus.target[i], '\n');
  }
  return hash;
}

std::string translation(const ef::ParallelCorpus& corpus, const std::string& sentence) {
  const auto found = std::find(corpus.source.begin(), corpus.source.end(), sentence);
  return found == corpus.source.end() ? "" : corpus.target[static_cast<std::size_t>(found - corpus.source.begin())];
}

}  // namespace

TEST_CASE("the demo corpus has enough of every word and no more than a small model can learn", "[examples][long]") {
  const ef::ParallelCorpus corpus = translate::demo_corpus();
  REQUIRE(corpus.source.size() == corpus.target.size());
  CHECK(corpus.size() >= 5000);
  CHECK(corpus.size() <= 8000);
  CHECK(std::set<std::string>(corpus.source.begin(), corpus.source.end()).size() == corpus.source.size());

  for (const std::vector<std::string>* side : {&corpus.source, &corpus.target}) {
    CAPTURE(side == &corpus.source);
    std::map<std::string, int> counts;
    for (const std::string& sentence : *side) {
      CAPTURE(sentence);
      const std::vector<std::string> words = words_of(sentence);
      REQUIRE(words.size() >= 2);
      REQUIRE(words.size() <= 12);
      for (const std::string& word : words) ++counts[word];
    }
    CHECK(counts.count("") == 0);
    CHECK(counts.size() >= 200);
    CHECK(counts.size() <= 350);
    for (const auto& [word, count] : counts) {
      CAPTURE(word);
      CHECK(count >= 12);
    }
  }
}

TEST_CASE("the demo corpus has the phrases of its subject", "[examples][long]") {
  const ef::ParallelCorpus corpus = translate::demo_corpus();
  CHECK(translation(corpus, "natural language processing") == "自然 语言 处理");
  CHECK(translation(corpus, "machine translation") == "机器 翻译");
  CHECK(translation(corpus, "deep neural network") == "深度 神经 网络");
  CHECK(translation(corpus, "large language model") == "大型 语言 模型");
  const auto in_a_sentence = [](const std::string& sentence) {
    return sentence.find(" natural language processing") != std::string::npos;
  };
  CHECK(std::count_if(corpus.source.begin(), corpus.source.end(), in_a_sentence) >= 12);
}

TEST_CASE("the demo corpus is the same everywhere and another with another seed", "[examples][long]") {
  CHECK(hash_of(translate::demo_corpus()) == 0xC67A53E5E16099D0);
  CHECK(hash_of(translate::demo_corpus(1)) == hash_of(translate::demo_corpus()));
  CHECK(hash_of(translate::demo_corpus(2)) != hash_of(translate::demo_corpus()));
}

TEST_CASE("a sentence has one translation, whatever the seed", "[examples][long]") {
  std::map<std::string, std::string> translations;
  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    const ef::ParallelCorpus corpus = translate::demo_corpus(seed);
    for (std::size_t i = 0; i < corpus.source.size(); ++i) {
      CAPTURE(seed, corpus.source[i], corpus.target[i]);
      REQUIRE(translations.try_emplace(corpus.source[i], corpus.target[i]).first->second == corpus.target[i]);
    }
  }
}
