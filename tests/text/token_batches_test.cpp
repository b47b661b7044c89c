#include "eigenformer/text/token_batches.hpp"

#include <algorithm>
#include <numeric>
#include <vector>

#include "support/catch.hpp"
#include "support/message_of.hpp"

namespace ef = eigenformer;
using ef::Index;
using ef::testing::message_of;
using Lengths = std::vector<Index>;
using Batches = std::vector<Lengths>;

namespace {

struct Corpus {
  Lengths sources, targets;
  Index longer(Index i) const {
    return std::max(sources[static_cast<std::size_t>(i)], targets[static_cast<std::size_t>(i)]);
  }
};

Corpus random_corpus(ef::Rng& rng, std::size_t sentences, Index longest) {
  Corpus corpus;
  for (std::size_t i = 0; i < sentences; ++i) {
    corpus.sources.push_back(rng.randint(longest + 1));
    corpus.targets.push_back(rng.randint(longest + 1));
  }
  return corpus;
}

/// Every sentence once, no batch too large, none empty, none that the next one's first sentence would have fitted in.
void check_batches(const Batches& batches, const Corpus& corpus, Index max_tokens) {
  Lengths seen;
  for (const Lengths& batch : batches) {
    CHECK_FALSE(batch.empty());
    Index sources = 0;
    Index targets = 0;
    for (const Index i : batch) {
      sources += corpus.sources[static_cast<std::size_t>(i)];
      targets += corpus.targets[static_cast<std::size_t>(i)];
    }
    CHECK(std::max(sources, targets) <= max_tokens);
    seen.insert(seen.end(), batch.begin(), batch.end());
  }
  std::sort(seen.begin(), seen.end());
  Lengths all(corpus.sources.size());
  std::iota(all.begin(), all.end(), Index{0});
  CHECK(seen == all);
}

}  // namespace

TEST_CASE("batches hold every sentence once and no more tokens than allowed", "[text]") {
  const int seed = GENERATE(1, 2, 3);
  CAPTURE(seed);
  ef::Rng rng(static_cast<std::uint64_t>(seed));
  const Corpus corpus = random_corpus(rng, 500, 40);
  for (const Index max_tokens : {40, 100, 1000, 1'000'000}) {
    CAPTURE(max_tokens);
    check_batches(ef::token_batches(corpus.sources, corpus.targets, max_tokens, rng), corpus, max_tokens);
    check_batches(ef::token_batches(corpus.sources, corpus.targets, max_tokens), corpus, max_tokens);
  }
  CHECK(ef::token_batches(corpus.sources, corpus.targets, 1'000'000, rng).size() == 1);
}

TEST_CASE("a batch's sentences are of similar length", "[text]") {
  ef::Rng rng(4);
  const Corpus corpus = random_corpus(rng, 500, 40);
  Batches batches = ef::token_batches(corpus.sources, corpus.targets, 200, rng);
  const auto shortest = [&](const Lengths& batch) { return corpus.longer(batch.front()); };
  std::sort(batches.begin(), batches.end(), [&](const Lengths& a, const Lengths& b) {
    return std::pair(shortest(a), corpus.longer(a.back())) < std::pair(shortest(b), corpus.longer(b.back()));
  });
  // Put in order of length, the batches' lengths never fall: no batch has a sentence that belongs into another.
  Index last = 0;
  for (const Lengths& batch : batches)
    for (const Index i : batch) {
      CHECK(corpus.longer(i) >= last);
      last = corpus.longer(i);
    }
}

TEST_CASE("chance decides on ties and on the batches' order, and the seed on chance", "[text]") {
  const Lengths same(300, 10);
  ef::Rng first(5);
  ef::Rng second(5);
  const Batches batches = ef::token_batches(same, same, 50, first);
  CHECK(batches.size() == 60);
  CHECK(ef::token_batches(same, same, 50, second) == batches);
  CHECK(ef::token_batches(same, same, 50, first) != batches);  // the next epoch's are others

  Lengths rising(60);
  std::iota(rising.begin(), rising.end(), Index{61});
  const Batches shuffled = ef::token_batches(rising, rising, 120, first);
  CHECK(shuffled.size() == 60);
  CHECK_FALSE(std::is_sorted(shuffled.begin(), shuffled.end()));
}

TEST_CASE("draws are the same on every platform", "[text]") {
  ef::Rng rng(6);
  CHECK(ef::token_batches(Lengths{2, 2, 3, 2, 1, 2}, Lengths{2, 1, 1, 2, 2, 2}, 4, rng) ==
        Batches{{2}, {1, 5}, {0}, {4, 3}});
}

TEST_CASE("without chance the order is that of length", "[text]") {
  CHECK(ef::token_batches(Lengths{3, 1, 2, 1, 9}, Lengths{1, 4, 2, 1, 9}, 9) == Batches{{3, 2, 0, 1}, {4}});
  CHECK(ef::token_batches(Lengths{}, Lengths{}, 9).empty());
  CHECK(ef::token_batches(Lengths{2, 2, 2}, Lengths{1, 1, 1}, 4) == Batches{{0, 1}, {2}});
  CHECK(ef::token_batches(Lengths{1, 1, 1}, Lengths{2, 2, 2}, 4) == Batches{{0, 1}, {2}});
}

TEST_CASE("what cannot be batched is refused", "[text]") {
  ef::Rng rng(7);
  const Lengths two{1, 12};
  const Lengths three{1, 2, 3};
  CHECK(message_of([&] { ef::token_batches(two, two, 11, rng); }) ==
        "token_batches: sentence 1 has 12 tokens, max_tokens is 11");
  CHECK(message_of([&] {
          ef::token_batches(Lengths{1, 2}, two, 11);
        }) == "token_batches: sentence 1 has 12 tokens, max_tokens is 11");
  CHECK(message_of([&] { ef::token_batches(two, three, 20, rng); }) ==
        "token_batches: 2 source lengths, 3 target lengths");
  CHECK(message_of([&] { ef::token_batches(two, two, 0, rng); }) ==
        "token_batches: max_tokens is 0, expected at least 1");
}
