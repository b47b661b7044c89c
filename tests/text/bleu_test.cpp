#include "eigenformer/text/bleu.hpp"

#include <cmath>
#include <string>
#include <vector>

#include "support/approx.hpp"
#include "support/catch.hpp"
#include "support/message_of.hpp"
#include "text/sacrebleu_reference.hpp"

namespace ef = eigenformer;
using ef::BleuTokenizer;
using ef::testing::message_of;
using ef::testing::relative_error;
using Strings = std::vector<std::string>;

namespace {

std::string parted(const std::string& line) {
  std::string result;
  const std::string text = ef::detail::tokenize_13a(line);
  for (const std::string_view word : ef::split_words(text)) result.append(result.empty() ? "" : " ").append(word);
  return result;
}

}  // namespace

TEST_CASE("BLEU is sacreBLEU's", "[text]") {
  const auto corpora = ef::testing::scored_corpora();
  const std::string version = "version:eigenformer-" + std::to_string(EIGENFORMER_VERSION_MAJOR) + "." +
                              std::to_string(EIGENFORMER_VERSION_MINOR) + "." +
                              std::to_string(EIGENFORMER_VERSION_PATCH);
  std::size_t compared = 0;
  for (const ef::testing::BleuReference& expected : ef::testing::bleu_references()) {
    const ef::testing::ScoredCorpus& corpus = corpora.at(expected.corpus);
    for (const BleuTokenizer tokenizer : {BleuTokenizer::none, BleuTokenizer::v13a, BleuTokenizer::character})
      for (const bool lowercase : {false, true}) {
        const ef::Bleu bleu = ef::bleu(corpus.hypotheses, corpus.references, tokenizer, lowercase);
        if (bleu.signature != expected.signature + version) continue;
        ++compared;
        CAPTURE(corpus.name, bleu.signature, bleu.score, expected.score);
        CHECK(relative_error(bleu.score, expected.score) < 1e-12);
        CHECK(relative_error(bleu.brevity_penalty, expected.brevity_penalty) < 1e-12);
        CHECK(bleu.hypothesis_length == expected.hypothesis_length);
        CHECK(bleu.reference_length == expected.reference_length);
        for (std::size_t n = 0; n < 4; ++n) {
          CAPTURE(n, bleu.precisions[n], expected.precisions[n]);
          CHECK(relative_error(bleu.precisions[n], expected.precisions[n]) < 1e-12);
        }
      }
  }
  CHECK(compared == corpora.size() * 6);
}

TEST_CASE("13a parts words as WMT does", "[text]") {
  CHECK(parted("Hello, world!") == "Hello , world !");
  CHECK(parted("1,000.5 and 3,a .5") == "1,000.5 and 3 , a . 5");
  CHECK(parted("x-y 5-y 5-6") == "x-y 5 - y 5 - 6");
  CHECK(parted("don't (a/b) \"q\"") == "don't ( a / b ) \" q \"");
  CHECK(parted("&quot;a&amp;b&quot; &lt;&gt;") == "\" a & b \" < >");
  CHECK(parted("&amp;lt;") == "<");  // twice escaped, twice unescaped: entities are replaced one kind after another
  CHECK(parted("half-\nline<skipped>, end-\n") == "halfline , end-");
  CHECK(parted("1...5 a...5 a,.1 1.2") ==
        "1 . . .5 a . . . 5 a , .1 1.2");  // what one match has used the next does not see
  CHECK(parted("\xE4\xBD\xA0,\xE5\xA5\xBD.") == "\xE4\xBD\xA0 , \xE5\xA5\xBD .");
  CHECK(parted("").empty());
}

TEST_CASE("13a replaces every entity of a long line", "[text]") {
  std::string line, expected;
  for (int i = 0; i < 1'000'000; ++i) line += "&quot;", expected += " \" ";
  CHECK((ef::detail::tokenize_13a(line) == ' ' + expected + ' '));
}

TEST_CASE("a perfect translation has BLEU 100, and one without a common word 0", "[text]") {
  const Strings sentences{"one two three four five", "six seven eight nine"};
  const ef::Bleu same = ef::bleu(sentences, sentences, BleuTokenizer::none);
  CHECK(relative_error(same.score, 100) < 1e-12);
  CHECK(same.brevity_penalty == 1);
  const ef::Bleu other = ef::bleu(sentences, Strings{"a b c d e", "f g h i"}, BleuTokenizer::none);
  CHECK(other.score == 0);
  CHECK(other.precisions == std::array<double, 4>{});
}

TEST_CASE("BLEU of what cannot be compared is refused", "[text]") {
  const auto message = [](const Strings& hypotheses, const Strings& references) {
    return message_of([&] { ef::bleu(hypotheses, references, BleuTokenizer::v13a); });
  };
  CHECK(message({"a"}, {"a", "b"}) == "bleu: 1 hypotheses, 2 references");
  CHECK(message({}, {}) == "bleu: there are no sentences");
  CHECK(message({"ab\xFF"}, {"a"}) == "bleu: invalid UTF-8 at byte 2");
  CHECK(message({"a"}, {"\xC3"}) == "bleu: invalid UTF-8 at byte 0");
}
