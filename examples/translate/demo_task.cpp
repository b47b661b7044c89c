#include "translate/demo_task.hpp"

#include <numeric>

#include "translate/demo_corpus.hpp"

namespace translate {

std::pair<ef::ParallelCorpus, ef::ParallelCorpus> demo_split(std::uint64_t seed) {
  const ef::ParallelCorpus corpus = demo_corpus();
  std::vector<std::size_t> order(corpus.source.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  ef::Rng rng(seed);
  rng.shuffle(std::span(order));
  ef::ParallelCorpus learnt, held_out;
  for (std::size_t i = 0; i < order.size(); ++i) {
    const bool hold = i % 10 == 0 && corpus.source[order[i]] != demo_phrase;
    ef::ParallelCorpus& part = hold ? held_out : learnt;
    part.source.push_back(corpus.source[order[i]]);
    part.target.push_back(corpus.target[order[i]]);
  }
  return {learnt, held_out};
}

ef::TranslationSide side_of_words(const std::vector<std::string>& lines) {
  std::vector<std::vector<std::string>> sentences;
  for (const std::string& line : lines) sentences.push_back(ef::tokenize(line, ef::Tokenization::words));
  return {ef::Vocabulary::of(sentences), ef::Tokenization::words};
}

}  // namespace translate
