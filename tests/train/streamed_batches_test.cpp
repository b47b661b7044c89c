#include "eigenformer/train/streamed_batches.hpp"

#include <map>
#include <set>

#include "support/catch.hpp"
#include "support/message_of.hpp"

namespace ef = eigenformer;

namespace {

/// A corpus of `pairs` pairs; the tokens of pair i begin with i.
auto corpus_of(ef::Index pairs) {
  return [pairs] {
    return [pairs, i = ef::Index{0}](std::vector<ef::Token>& source, std::vector<ef::Token>& target) mutable {
      if (i == pairs) return false;
      source.assign(static_cast<std::size_t>(1 + i * 7 % 5), static_cast<ef::Token>(3 + i));
      target.assign(static_cast<std::size_t>(1 + i * 3 % 4), static_cast<ef::Token>(3 + i));
      ++i;
      return true;
    };
  };
}

/// The pairs of a batch, in its order.
std::vector<ef::Token> pairs_of(const ef::TranslationBatch& batch) {
  std::vector<ef::Token> pairs;
  for (ef::Index i = 0; i < batch.source.sequences(); ++i) pairs.push_back(batch.source[i][0] - 3);
  return pairs;
}

}  // namespace

TEST_CASE("each epoch of a stream has every pair once, in an order of its own", "[train]") {
  for (const ef::Index pairs : {1, 4, 5, 23})
    for (const ef::Index buffered : {1, 5, 100}) {
      CAPTURE(pairs, buffered);
      ef::StreamedBatches stream(corpus_of(pairs), {.max_tokens = 14, .buffered = buffered, .seed = 2});
      std::map<ef::Index, std::vector<ef::Token>> epochs;
      while (stream.position().epoch < 4) {
        const ef::TranslationBatch batch = stream.next();
        if (stream.position().epoch == 4) break;
        CHECK(static_cast<ef::Index>(batch.source.ids.size()) <= 14);
        CHECK(static_cast<ef::Index>(batch.next.size()) <= 14);
        std::vector<ef::Token>& seen = epochs[stream.position().epoch];
        const std::vector<ef::Token> more = pairs_of(batch);
        // The pairs of a batch are of the same buffer, and buffers follow one another.
        for (const ef::Token pair : more) CHECK(pair / buffered == more[0] / buffered);
        if (!seen.empty()) CHECK(more[0] / buffered >= seen.back() / buffered);
        seen.insert(seen.end(), more.begin(), more.end());
      }
      std::set<std::vector<ef::Token>> orders;
      for (auto& [epoch, seen] : epochs) {
        orders.insert(seen);
        std::sort(seen.begin(), seen.end());
        REQUIRE(seen.size() == static_cast<std::size_t>(pairs));
        for (std::size_t i = 0; i < seen.size(); ++i) CHECK(seen[i] == static_cast<ef::Token>(i));
      }
      if (pairs == 23 && buffered > 1) CHECK(orders.size() == 4);
    }
}

TEST_CASE("a stream continues at any position", "[train]") {
  for (const ef::Index buffered : {1, 4, 100}) {
    const ef::StreamedBatchesOptions options{.max_tokens = 12, .buffered = buffered, .seed = 3};
    ef::StreamedBatches whole(corpus_of(13), options), other(corpus_of(13), options);
    std::vector<ef::BatchPosition> positions;
    std::vector<std::vector<ef::Token>> batches;
    for (int i = 0; i < 40; ++i) {
      positions.push_back(whole.position());
      batches.push_back(pairs_of(whole.next()));
    }
    for (std::size_t i = positions.size(); i-- > 0;) {
      CAPTURE(buffered, i);
      other.seek(positions[i]);
      CHECK(other.position() == positions[i]);
      CHECK(pairs_of(other.next()) == batches[i]);
      if (i + 1 < batches.size()) CHECK(pairs_of(other.next()) == batches[i + 1]);
    }
  }
}

TEST_CASE("streams refuse empty corpora and positions that they do not have", "[train]") {
  ef::StreamedBatches empty(corpus_of(0));
  CHECK(ef::testing::message_of([&] { empty.next(); }) == "StreamedBatches: the corpus is empty");
  ef::StreamedBatches one(corpus_of(1));
  CHECK(ef::testing::message_of([&] {
          one.seek({0, 2});
        }) == "StreamedBatches::seek: epoch 0 has 1 batches, the position is batch 2; is it of another corpus?");
  CHECK_THROWS_AS(one.seek({-1, 0}), ef::Error);
  CHECK_THROWS_AS(ef::StreamedBatches(corpus_of(1), {.buffered = 0}), ef::Error);
}
