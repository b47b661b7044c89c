// Generates simple English sentences with German translations and records on which word each word depends.
#pragma once

#include <array>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "eigenformer/core/rng.hpp"
#include "eigenformer/text/tokens.hpp"

namespace questions {

/// A sentence and its translation, split into words:
///
///   two cat near one dog see one bird today and it sleep
///   heute die zwei Katze bei der ein Hund das ein Vogel sehen und sie schläft
///
/// The German article of each noun is drawn anew for each sentence, so the source does not determine it.
///   reference  the pronoun has the gender of the subject's article, across all nouns in between
///   agreement  the verb follows those nouns and has the number of the subject
struct TranslatedSentence {
  using Index = eigenformer::Index;

  std::vector<std::string> source, target;
  std::vector<std::pair<Index, Index>> aligned;      // pairs: target word, source word that it translates
  Index pronoun = 0, subject_article = 0;            // reference, as target words
  Index verb = 0, subject_number = 0;                // agreement, as target words
  Index source_verb = 0, source_subject_number = 0;  // agreement, as source words
};

inline TranslatedSentence draw_sentence(eigenformer::Rng& rng) {
  using Pair = std::array<const char*, 2>;
  using eigenformer::Index;
  static constexpr std::array<Pair, 6> nouns{
      {{"cat", "Katze"}, {"dog", "Hund"}, {"bird", "Vogel"}, {"cow", "Kuh"}, {"fox", "Fuchs"}, {"owl", "Eule"}}};
  static constexpr std::array<Pair, 4> verbs{{{"see", "seh"}, {"hear", "hör"}, {"find", "find"}, {"seek", "such"}}};
  static constexpr std::array<Pair, 3> rests{{{"sleep", "schläft"}, {"sing", "singt"}, {"run", "rennt"}}};
  static constexpr std::array<Pair, 2> numbers{{{"one", "ein"}, {"two", "zwei"}}};
  static constexpr std::array<Pair, 3> times{{{"today", "heute"}, {"now", "jetzt"}, {"often", "oft"}}};
  static constexpr std::array<Pair, 3> genders{{{"der", "er"}, {"die", "sie"}, {"das", "es"}}};
  const auto pick = [&](const auto& words) {
    return words[static_cast<std::size_t>(rng.randint(static_cast<Index>(words.size())))];
  };

  TranslatedSentence s;
  const auto say = [](std::vector<std::string>& side, std::string word) {
    side.push_back(std::move(word));
    return static_cast<Index>(side.size()) - 1;
  };
  const auto translate = [&](Index source_word, std::string word) {
    const Index place = say(s.target, std::move(word));
    s.aligned.emplace_back(place, source_word);
    return place;
  };

  struct Noun {
    Pair number, noun, gender;
    Index number_place = 0, noun_place = 0;
  };
  const auto say_noun = [&] {
    Noun noun{pick(numbers), pick(nouns), pick(genders)};
    noun.number_place = say(s.source, noun.number[0]);
    noun.noun_place = say(s.source, noun.noun[0]);
    return noun;
  };
  const auto translate_noun = [&](const Noun& noun) {
    const Index article = say(s.target, noun.gender[0]);
    const Index number = translate(noun.number_place, noun.number[1]);
    translate(noun.noun_place, noun.noun[1]);
    return std::pair(article, number);
  };

  std::vector<Noun> near;
  std::vector<Index> near_places;
  const Noun subject = say_noun();
  for (Index left = rng.randint(4); left > 0; --left) {
    near_places.push_back(say(s.source, "near"));
    near.push_back(say_noun());
  }
  const Pair verb = pick(verbs), time = pick(times), rest = pick(rests);
  s.source_verb = say(s.source, verb[0]);
  const Noun object = say_noun();
  const Index time_place = say(s.source, time[0]), and_place = say(s.source, "and");
  const Index it_place = say(s.source, "it"), rest_place = say(s.source, rest[0]);
  s.source_subject_number = subject.number_place;

  translate(time_place, time[1]);
  std::tie(s.subject_article, s.subject_number) = translate_noun(subject);
  for (std::size_t i = 0; i < near.size(); ++i) {
    translate(near_places[i], "bei");
    translate_noun(near[i]);
  }
  translate_noun(object);
  s.verb = translate(s.source_verb, std::string(verb[1]) + (subject.number == numbers[0] ? "t" : "en"));
  translate(and_place, "und");
  s.pronoun = translate(it_place, subject.gender[1]);
  translate(rest_place, rest[1]);
  return s;
}

/// Sentences and their batch for a model.
struct LittleCorpus {
  std::vector<TranslatedSentence> sentences;
  eigenformer::TranslationBatch batch;
};

/// The vocabularies of draw_sentence.
class LittleLanguages {
 public:
  LittleLanguages() {
    eigenformer::Rng rng(0);
    std::vector<std::vector<std::string>> sources, targets;
    for (int i = 0; i < 2000; ++i) {
      TranslatedSentence sentence = draw_sentence(rng);
      sources.push_back(std::move(sentence.source));
      targets.push_back(std::move(sentence.target));
    }
    source = eigenformer::Vocabulary::of(sources);
    target = eigenformer::Vocabulary::of(targets);
  }
  LittleCorpus draw(eigenformer::Index count, eigenformer::Rng& rng) const {
    LittleCorpus corpus;
    std::vector<std::vector<eigenformer::Token>> sources, targets;
    std::vector<eigenformer::Index> all;
    for (eigenformer::Index i = 0; i < count; ++i) {
      corpus.sentences.push_back(draw_sentence(rng));
      sources.push_back(source.encode(corpus.sentences.back().source));
      targets.push_back(target.encode(corpus.sentences.back().target));
      all.push_back(i);
    }
    corpus.batch = eigenformer::translation_batch(sources, targets, all);
    return corpus;
  }
  eigenformer::Vocabulary source, target;
};

}  // namespace questions
