// Generates the demo corpus: fills the rules of demo_grammar.hpp with the words of demo_words.hpp.
#include "translate/demo_corpus.hpp"

#include <functional>
#include <initializer_list>
#include <iterator>
#include <map>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "eigenformer/core/rng.hpp"
#include "translate/demo_grammar.hpp"
#include "translate/demo_words.hpp"

namespace translate {
namespace {

using eigenformer::Index;
using eigenformer::Rng;
using words::Adjective;
using words::Kind;
using words::Noun;
using words::Person;
using words::Pronoun;
using words::Word;

/// A text in both languages.
struct Phrase {
  Phrase() = default;
  Phrase(Word word) : Phrase(word.english, word.chinese) {}
  Phrase(std::string_view in_english, std::string_view in_chinese) : english(in_english), chinese(in_chinese) {}

  std::string english;
  std::string chinese;
};

/// Joins the non-empty parts with single spaces.
std::string join(std::initializer_list<std::string_view> parts) {
  std::string text;
  for (const std::string_view part : parts) {
    if (!text.empty() && !part.empty()) text += ' ';
    text += part;
  }
  return text;
}
Phrase join(const Phrase& a, const Phrase& b) {
  return {join({a.english, b.english}), join({a.chinese, b.chinese})};
}

std::string with_article(std::string_view noun) {
  const bool vowel = std::string_view("aeiou").find(noun.front()) != std::string_view::npos;
  return join({vowel ? "an" : "a", noun});
}

template <class Table>
const auto& pick(Rng& rng, const Table& table) {
  return table[static_cast<std::size_t>(rng.randint(static_cast<Index>(std::size(table))))];
}

/// One assignment of words to all slots.
class Scene {
 public:
  Scene(Rng& rng, bool asking) : rng_(rng) {
    add_people(asking);
    add_activity();
    add_things();
    add_research();
    for (const words::Choice& choice : words::choices) slots_[std::string(choice.slot)] = pick(rng_, choice.words);
  }

  /// Returns both sides of a rule with all slots filled. Throws if a slot has no words.
  Phrase operator()(const Rule& rule) const {
    return {fill(rule.english, &Phrase::english), fill(rule.chinese, &Phrase::chinese)};
  }

 private:
  struct Subject {
    Phrase name, owner;
    Person person;
    bool plural;

    bool third_singular() const { return person == Person::third && !plural; }
  };

  /// "I" and "us" overlap, so they never share a sentence; "he" and "him" may be two people.
  static bool overlap(Person a, Person b) { return a == b && a != Person::third; }

  Subject draw_pronoun() {
    const Pronoun& pronoun = pick(rng_, words::pronouns);
    return {pronoun.subject, pronoun.owner, pronoun.person, pronoun.plural};
  }
  Subject draw_relative() {
    const Pronoun& whose = pick(rng_, words::singular_pronouns);
    const words::Relative& relative = pick(rng_, words::family);
    return {join({whose.owner.english, whose.subject.chinese}, relative.name), relative.owner, Person::third, false};
  }
  Subject draw_subject() {
    const Index kind = rng_.randint(10);
    if (kind < 5) return draw_pronoun();
    if (kind < 7) return draw_relative();
    const Noun& noun = pick(rng_, words::people);
    if (kind < 9) return {{join({"the", noun.singular}), noun.chinese}, {"the", ""}, Person::third, false};
    const Word their{"their", "他们 的"};
    return {{join({"the", noun.plural}), join({noun.chinese, "们"})}, their, Person::third, true};
  }
  template <class Accept>
  Subject draw_subject(Accept&& accept) {
    for (;;)
      if (const Subject subject = draw_subject(); accept(subject)) return subject;
  }
  Phrase draw_recipient(Person giver) {
    for (;;)
      if (const Pronoun& pronoun = pick(rng_, words::pronouns); !overlap(giver, pronoun.person)) return pronoun.object;
  }

  void add_people(bool asking) {
    she_ = draw_subject([&](const Subject& x) { return !asking || x.person != Person::first; });
    const Subject they = draw_subject(
        [&](const Subject& x) { return x.name.english != she_.name.english && !overlap(x.person, she_.person); });
    // Not one of `people`, because rules with {he} may give him a profession.
    const Subject he =
        draw_subject([](const Subject& x) { return x.third_singular() && !x.name.english.starts_with("the "); });

    const bool third = she_.third_singular();
    const bool first = she_.person == Person::first && !she_.plural;
    slots_["she"] = she_.name;
    slots_["her"] = she_.owner;
    slots_["is"] = {third ? "is" : first ? "am" : "are", ""};
    slots_["has"] = {third ? "has" : "have", ""};
    slots_["s"] = {third ? "s" : "", ""};
    slots_["es"] = {third ? "es" : "", ""};
    slots_["ies"] = {third ? "ies" : "y", ""};
    slots_["they"] = they.name;
    slots_["he"] = he.name;
    slots_["him"] = draw_recipient(she_.person);
    slots_["me"] = draw_recipient(Person::second);
    slots_["my"] = pick(rng_, words::pronouns).owner;
  }

  void add_activity() {
    const auto add = [&](const char* slot, std::string_view verb, const words::Activity& activity) {
      slots_[slot] = {join({verb, activity.object}), activity.chinese};
    };
    const words::Activity& activity = pick(rng_, words::activities);
    add("play", activity.verb.base, activity);
    add("plays", she_.third_singular() ? activity.verb.third : activity.verb.base, activity);
    add("playing", activity.verb.ing, activity);
    add("played", activity.verb.past, activity);
    slots_["at school"] = pick(rng_, activity.places);
    const words::Activity& skill = pick(rng_, words::skills);
    add("sing", skill.verb.base, skill);
  }

  /// Fills all slots of one noun ("car", "cars", "a car", "a new car", "three cars", "this car", ...) and returns its
  /// adjective.
  const Adjective& add_noun(const std::string& slot, const Kind& kind, const std::string& adjective_slot = "new") {
    const Noun& noun = pick(rng_, kind.nouns);
    const Adjective& adjective = pick(rng_, kind.adjectives);
    const Phrase one{noun.singular, noun.chinese};
    const Phrase several{noun.plural, noun.chinese};
    const Phrase counted_one{noun.singular, join({noun.measure, noun.chinese})};
    const Phrase counted_several{noun.plural, join({noun.measure, noun.chinese})};
    const std::string described = join({adjective.english, noun.singular});

    slots_[slot] = one;
    slots_[slot + 's'] = several;
    slots_["a " + slot] = {with_article(noun.singular), join({"一", counted_one.chinese})};
    slots_["a " + adjective_slot + ' ' + slot] = {with_article(described),
                                                  join({"一", noun.measure, adjective.before_noun, noun.chinese})};
    slots_["this " + slot] = join(near_ ? Word{"this", "这"} : Word{"that", "那"}, counted_one);
    slots_["that " + slot] = join(near_ ? Word{"that", "那"} : Word{"this", "这"}, counted_one);
    slots_["these " + slot + 's'] = join(near_ ? Word{"these", "这些"} : Word{"those", "那些"}, several);
    slots_["three " + slot + 's'] = join(pick(rng_, words::numbers), counted_several);
    slots_["how many " + slot + 's'] = join(Word{"how many", "几"}, counted_several);
    slots_["which " + slot] = join(Word{"which", "哪"}, counted_one);
    return adjective;
  }

  void add_things() {
    near_ = rng_.randint(2) == 0;
    slots_["new"] = predicate(add_noun("car", pick(rng_, words::belongings)));
    add_noun("key", pick(rng_, words::portable_belongings));
    add_noun("cat", words::pets, "small");
    add_noun("horse", words::creatures);
    add_noun("poem", words::texts, "famous");

    const Adjective& tall = add_noun("teacher", words::professions, "young");
    slots_["tall"] = predicate(tall);
    slots_["taller"] = {tall.comparative, tall.predicate};

    const Kind& kind = pick(rng_, words::kinds);
    const Adjective& big = add_noun("house", kind);
    add_noun("tower", kind);
    slots_["big"] = predicate(big);
    slots_["bigger"] = {big.comparative, big.predicate};

    const words::Use& wearing = pick(rng_, words::wearing);
    slots_["red"] = predicate(add_noun("coat", wearing.what, "red"));
    slots_["wear"] = wearing.base;
    slots_["wearing"] = wearing.other_form;

    const words::Use& meal = pick(rng_, words::meals);
    slots_["delicious"] = predicate(add_noun("cake", meal.what, "delicious"));
    add_noun("pear", meal.what);
    while (slots_["pear"].english == slots_["cake"].english) add_noun("pear", meal.what);
    slots_["eat"] = meal.base;
    slots_["ate"] = meal.other_form;
  }

  void add_research() {
    slots_["speech recognition"] = slots_["text analysis"] = draw_topic();
    while (slots_["text analysis"].english == slots_["speech recognition"].english)
      slots_["text analysis"] = draw_topic();
    const Adjective& difficult = pick(rng_, words::of_topics);
    slots_["difficult"] = predicate(difficult);
    slots_["more difficult"] = {difficult.comparative, difficult.predicate};
    add_noun("model", words::models, "large");
    add_noun("paper", words::papers);
    slots_["english"] = slots_["chinese"] = pick(rng_, words::languages);
    while (slots_["chinese"].english == slots_["english"].english) slots_["chinese"] = pick(rng_, words::languages);
  }

  Phrase draw_topic() {
    const Index kind = rng_.randint(5);
    if (kind == 0) return pick(rng_, words::other_topics);
    const Word material = pick(rng_, words::materials);
    const Phrase topic = join(material, pick(rng_, words::tasks));
    const bool plain = kind < 3 || material.english == words::natural_language;
    return plain ? topic : join(pick(rng_, words::approaches), topic);
  }

  static Phrase predicate(const Adjective& adjective) { return {adjective.english, adjective.predicate}; }

  std::string fill(std::string_view pattern, std::string Phrase::*side) const {
    std::string text;
    for (;;) {
      const std::size_t open = pattern.find('{');
      text += pattern.substr(0, open);
      if (open == std::string_view::npos) return text;
      const std::size_t close = pattern.find('}', open);
      const auto slot = slots_.find(pattern.substr(open + 1, close - open - 1));
      eigenformer::check(slot != slots_.end(), "demo_corpus: nothing fills ", pattern.substr(open));
      const std::string& filling = slot->second.*side;
      if (filling.empty() && text.ends_with(' ')) text.pop_back();
      text += filling;
      pattern.remove_prefix(close + 1);
    }
  }

  Rng& rng_;
  Subject she_{};
  bool near_ = false;  // true: this and these; false: that and those
  std::map<std::string, Phrase, std::less<>> slots_;
};

/// Returns each topic and each model once, as a phrase: "natural language processing", "large language model".
std::vector<Phrase> research_phrases() {
  std::vector<Phrase> phrases(std::begin(words::other_topics), std::end(words::other_topics));
  for (const Word& material : words::materials)
    for (const Word& task : words::tasks) {
      phrases.push_back(join(material, task));
      if (material.english == words::natural_language) continue;
      for (const Word& approach : words::approaches) phrases.push_back(join(approach, join(material, task)));
    }
  for (const Noun& noun : words::models.nouns) {
    const Phrase model{noun.singular, noun.chinese};
    phrases.push_back(model);
    for (const Adjective& size : words::models.adjectives)
      phrases.push_back(join(Word{size.english, size.before_noun}, model));
  }
  return phrases;
}

bool too_long(const std::string& text) {
  return eigenformer::split_words(text).size() > 12;
}

}  // namespace

eigenformer::ParallelCorpus demo_corpus(std::uint64_t seed) {
  std::vector<Phrase> pairs = research_phrases();
  std::set<std::string> seen;
  for (const Phrase& pair : pairs) seen.insert(pair.english);

  Rng rng(seed);
  const auto add = [&](const Rule& rule, bool asking) {
    int found = 0;
    for (int tries = 0; found < rule.sentences && tries < 20 * rule.sentences; ++tries) {
      Phrase pair = Scene(rng, asking)(rule);
      if (too_long(pair.english) || too_long(pair.chinese) || !seen.insert(pair.english).second) continue;
      pairs.push_back(std::move(pair));
      ++found;
    }
  };
  for (const Rule& rule : statements) add(rule, false);
  for (const Rule& rule : questions) add(rule, true);

  rng.shuffle(std::span(pairs));
  eigenformer::ParallelCorpus corpus;
  for (Phrase& pair : pairs) {
    corpus.source.push_back(std::move(pair.english));
    corpus.target.push_back(std::move(pair.chinese));
  }
  return corpus;
}

}  // namespace translate
