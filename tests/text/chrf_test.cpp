#include "eigenformer/text/chrf.hpp"

#include <string>
#include <vector>

#include "support/approx.hpp"
#include "support/catch.hpp"
#include "support/message_of.hpp"
#include "text/sacrebleu_reference.hpp"

namespace ef = eigenformer;
using ef::testing::message_of;
using ef::testing::relative_error;
using Strings = std::vector<std::string>;

TEST_CASE("chrF and chrF++ are sacreBLEU's", "[text]") {
  const auto corpora = ef::testing::scored_corpora();
  const std::string version = "version:eigenformer-" + std::to_string(EIGENFORMER_VERSION_MAJOR) + "." +
                              std::to_string(EIGENFORMER_VERSION_MINOR) + "." +
                              std::to_string(EIGENFORMER_VERSION_PATCH);
  std::size_t compared = 0;
  for (const ef::testing::ChrfReference& expected : ef::testing::chrf_references()) {
    const ef::testing::ScoredCorpus& corpus = corpora.at(expected.corpus);
    for (const ef::Index word_order : {0, 1, 2})
      for (const bool lowercase : {false, true}) {
        const ef::Chrf chrf =
            ef::chrf(corpus.hypotheses, corpus.references, {.word_order = word_order, .lowercase = lowercase});
        if (chrf.signature != expected.signature + version) continue;
        ++compared;
        CAPTURE(corpus.name, chrf.signature, chrf.score, expected.score);
        CHECK(relative_error(chrf.score, expected.score) < 1e-12);
      }
  }
  CHECK(compared == corpora.size() * 6);
}

TEST_CASE("a perfect translation has chrF 100, and one without a common character 0", "[text]") {
  const Strings sentences{"one two three", "four"};
  CHECK(relative_error(ef::chrf(sentences, sentences).score, 100) < 1e-12);
  CHECK(ef::chrf(sentences, Strings{"xyz", "yzx"}).score == 0);
  CHECK(ef::chrf(Strings{""}, Strings{""}).score == 0);
}

TEST_CASE("chrF of what cannot be compared is refused", "[text]") {
  const auto message = [](const Strings& hypotheses, const Strings& references, const ef::ChrfOptions& options = {}) {
    return message_of([&] { ef::chrf(hypotheses, references, options); });
  };
  CHECK(message({"a"}, {"a", "b"}) == "chrf: 1 hypotheses, 2 references");
  CHECK(message({}, {}) == "chrf: there are no sentences");
  CHECK(message({"ab\xFF"}, {"a"}) == "chrf: invalid UTF-8 at byte 2");
  CHECK(message({"a"}, {"\xC3"}, {.lowercase = true}) == "chrf: invalid UTF-8 at byte 0");
  CHECK(message({"a"}, {"a"}, {.word_order = 3}) == "chrf: word_order is 3, expected 0 to 2");
  CHECK(message({"a"}, {"a"}, {.word_order = -1}) == "chrf: word_order is -1, expected 0 to 2");
}
