#include "eigenformer/text/ngrams.hpp"

#include <map>
#include <string>
#include <vector>

#include "eigenformer/core/rng.hpp"
#include "support/catch.hpp"

namespace ef = eigenformer;
using Sentence = std::vector<int>;

namespace {

std::map<Sentence, ef::Index> grams(const Sentence& sentence, std::size_t n) {
  std::map<Sentence, ef::Index> counts;
  for (std::size_t i = 0; i + n <= sentence.size(); ++i)
    ++counts[Sentence(sentence.begin() + static_cast<std::ptrdiff_t>(i),
                      sentence.begin() + static_cast<std::ptrdiff_t>(i + n))];
  return counts;
}

ef::NgramCounts naive(const Sentence& hypothesis, const Sentence& reference, std::size_t n) {
  ef::NgramCounts counts;
  const auto ours = grams(hypothesis, n);
  const auto theirs = grams(reference, n);
  for (const auto& [gram, count] : ours) {
    counts.hypothesis += count;
    const auto other = theirs.find(gram);
    if (other != theirs.end()) counts.matches += std::min(count, other->second);
  }
  for (const auto& [gram, count] : theirs) counts.reference += count;
  return counts;
}

}  // namespace

TEST_CASE("n-grams are counted as in a table", "[text]") {
  constexpr int seed = 11;
  CAPTURE(seed);
  ef::Rng rng(seed);
  for (int round = 0; round < 2000; ++round) {
    const ef::Index symbols = 1 + rng.randint(4);
    Sentence sentences[2];
    for (Sentence& sentence : sentences)
      for (ef::Index i = rng.randint(15); i > 0; --i) sentence.push_back(static_cast<int>(rng.randint(symbols)));
    const auto counts = ef::count_ngrams<6, int>(sentences[0], sentences[1]);
    for (std::size_t n = 1; n <= 6; ++n) {
      const ef::NgramCounts expected = naive(sentences[0], sentences[1], n);
      CAPTURE(round, n, sentences[0], sentences[1]);
      CHECK(counts[n - 1].hypothesis == expected.hypothesis);
      CHECK(counts[n - 1].reference == expected.reference);
      CHECK(counts[n - 1].matches == expected.matches);
    }
  }
}
