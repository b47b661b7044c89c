#include "questions/support/little_language.hpp"

#include <map>
#include <set>

#include "support/catch.hpp"

namespace ef = eigenformer;
using questions::TranslatedSentence;

TEST_CASE("what a word depends on stands where a drawn sentence says", "[examples]") {
  const std::map<std::string, std::string> pronouns{{"der", "er"}, {"die", "sie"}, {"das", "es"}};
  const std::uint64_t seed = 3;
  CAPTURE(seed);
  ef::Rng rng(seed);
  std::set<ef::Index> distances;
  std::map<std::string, std::set<std::string>> translations;
  for (int i = 0; i < 500; ++i) {
    const TranslatedSentence s = questions::draw_sentence(rng);
    const auto target = [&](ef::Index word) { return s.target.at(static_cast<std::size_t>(word)); };
    const auto source = [&](ef::Index word) { return s.source.at(static_cast<std::size_t>(word)); };
    CHECK(pronouns.at(target(s.subject_article)) == target(s.pronoun));
    distances.insert(s.pronoun - s.subject_article);
    CHECK(source(s.source_subject_number) == (target(s.subject_number) == "ein" ? "one" : "two"));
    const std::string verb = target(s.verb);
    const std::string ending = target(s.subject_number) == "ein" ? "t" : "en";
    CHECK(verb.substr(verb.size() - ending.size()) == ending);
    for (const auto& [word, from] : s.aligned) translations[source(from)].insert(target(word));
    CHECK(std::any_of(s.aligned.begin(), s.aligned.end(),
                      [&](const auto& pair) { return pair.first == s.verb && pair.second == s.source_verb; }));
  }
  CHECK(distances == std::set<ef::Index>{8, 12, 16, 20});
  CHECK(translations.at("cat") == std::set<std::string>{"Katze"});
  CHECK(translations.at("near") == std::set<std::string>{"bei"});
  CHECK(translations.at("see") == std::set<std::string>{"seht", "sehen"});
  CHECK(translations.at("it").size() == 3);
}

TEST_CASE("all that may be said is in the little languages' vocabularies", "[examples]") {
  const questions::LittleLanguages languages;
  ef::Rng rng(4);
  const questions::LittleCorpus corpus = languages.draw(200, rng);
  CHECK(corpus.batch.source.sequences() == 200);
  for (const ef::Token token : corpus.batch.source.ids) CHECK(token != ef::Vocabulary::unknown);
  for (const ef::Token token : corpus.batch.next) CHECK(token != ef::Vocabulary::unknown);
}
