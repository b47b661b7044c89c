#include "eigenformer/train/streamed_batches.hpp"

#include <algorithm>
#include <atomic>
#include <map>
#include <mutex>
#include <set>

#include "eigenformer/core/thread_pool.hpp"
#include "eigenformer/train/batch_order.hpp"
#include "support/catch.hpp"
#include "support/message_of.hpp"
#include "support/thread_ranks.hpp"

namespace ef = eigenformer;

namespace {

constexpr ef::Index pairs_of_block = 3;

/// Returns one side of a pair: tokens with the pair's number, then one with the epoch.
std::vector<ef::Token> side_of_pair(ef::Index pair, ef::Index length, ef::Index epoch) {
  std::vector<ef::Token> tokens(static_cast<std::size_t>(length), static_cast<ef::Token>(3 + pair));
  tokens.push_back(static_cast<ef::Token>(100 + epoch));
  return tokens;
}

/// Reads a corpus of `pairs` pairs in blocks of three, and counts the blocks that it reads.
struct NumberedPairs {
  ef::Index pairs;
  bool vary = false;
  std::shared_ptr<std::atomic<int>> reads = std::make_shared<std::atomic<int>>(0);

  ef::Index blocks() const { return std::max<ef::Index>(1, (pairs + pairs_of_block - 1) / pairs_of_block); }
  ef::EncodedPairs operator()(ef::Index epoch, ef::Index block) const {
    ++*reads;
    std::vector<std::vector<ef::Token>> sources, targets;
    for (ef::Index i = block * pairs_of_block; i < std::min(pairs, (block + 1) * pairs_of_block); ++i) {
      sources.push_back(side_of_pair(i, 1 + i * 7 % 5, vary ? epoch : 0));
      targets.push_back(side_of_pair(i, 1 + i * 3 % 4, vary ? epoch : 0));
    }
    return {ef::Tokens::of(sources), ef::Tokens::of(targets)};
  }
};

/// Returns the numbers of a batch's pairs, in its order.
std::vector<ef::Token> pairs_of(const ef::TranslationBatch& batch) {
  std::vector<ef::Token> pairs;
  for (ef::Index i = 0; i < batch.source.sequences(); ++i) pairs.push_back(batch.source[i][0] - 3);
  return pairs;
}

}  // namespace

TEST_CASE("each epoch of a stream has every pair once, in an order of its own", "[train]") {
  for (const ef::Index pairs : {1, 4, 5, 23, 60})
    for (const ef::Index buffer_blocks : {1, 2, 5, 100}) {
      CAPTURE(pairs, buffer_blocks);
      const NumberedPairs corpus{.pairs = pairs, .vary = true};
      ef::StreamedBatches stream(corpus.blocks(), corpus,
                                 {.max_tokens = 14, .buffer_blocks = buffer_blocks, .seed = 2, .blocks_vary = true});
      CHECK(stream.buffers() == (corpus.blocks() + buffer_blocks - 1) / buffer_blocks);
      std::map<ef::Index, std::vector<ef::Token>> epochs;
      std::map<std::pair<ef::Index, ef::Index>, std::set<ef::Index>> blocks_of_buffers;
      double epochs_done = 0;
      while (true) {
        const ef::TranslationBatch batch = stream.next();
        const ef::BatchPosition& position = stream.last_position();
        if (position.epoch == 4) break;
        CHECK(static_cast<ef::Index>(batch.source.ids.size()) <= 14);
        CHECK(static_cast<ef::Index>(batch.next.size()) <= 14);
        CHECK(stream.epochs_done() > epochs_done);
        epochs_done = stream.epochs_done();
        CHECK(epochs_done <= static_cast<double>(position.epoch + 1));
        for (ef::Index i = 0; i < batch.source.sequences(); ++i)  // the last token before </s> is the epoch's
          CHECK(batch.source[i][batch.source[i].size() - 2] == 100 + position.epoch);
        for (const ef::Token pair : pairs_of(batch)) {
          epochs[position.epoch].push_back(pair);
          blocks_of_buffers[{position.epoch, position.buffer}].insert(pair / pairs_of_block);
        }
      }
      CHECK(epochs_done == 4);
      std::set<std::vector<ef::Token>> orders;
      for (auto& [epoch, seen] : epochs) {
        orders.insert(seen);
        std::sort(seen.begin(), seen.end());
        REQUIRE(seen.size() == static_cast<std::size_t>(pairs));
        for (std::size_t i = 0; i < seen.size(); ++i) CHECK(seen[i] == static_cast<ef::Token>(i));
      }
      if (pairs >= 23) CHECK(orders.size() == 4);
      // Buffers are full and equally large, and mix blocks from the whole corpus.
      std::set<std::set<ef::Index>> mixtures;
      for (const auto& [place, blocks] : blocks_of_buffers) {
        CHECK(static_cast<ef::Index>(blocks.size()) <= buffer_blocks);
        CHECK(static_cast<ef::Index>(blocks.size()) >= corpus.blocks() / stream.buffers());
        mixtures.insert(blocks);
      }
      if (pairs == 60 && buffer_blocks == 5) CHECK(mixtures.size() == 16);  // 4 buffers in 4 epochs, all different
    }
}

TEST_CASE("a stream of one buffer has the batches of BatchOrder", "[train]") {
  const NumberedPairs corpus{.pairs = 40};
  std::vector<ef::EncodedPairs> parts;
  std::vector<std::vector<ef::Token>> sources, targets;
  for (ef::Index block = 0; block < corpus.blocks(); ++block) {
    const ef::EncodedPairs part = corpus(0, block);
    for (ef::Index i = 0; i < part.size(); ++i) {
      sources.emplace_back(part.source[i].begin(), part.source[i].end());
      targets.emplace_back(part.target[i].begin(), part.target[i].end());
    }
  }
  const ef::Tokens source = ef::Tokens::of(sources), target = ef::Tokens::of(targets);
  ef::BatchOrder order(source, target, {.max_tokens = 20, .seed = 5});
  *corpus.reads = 0;
  ef::StreamedBatches stream(corpus.blocks(), corpus, {.max_tokens = 20, .seed = 5});
  CHECK(stream.batches_per_epoch() == order.batches_per_epoch());
  for (int i = 0; i < 50; ++i) {
    const ef::TranslationBatch expected = ef::translation_batch(source, target, order.next()), batch = stream.next();
    CHECK(batch.source.ids == expected.source.ids);
    CHECK(batch.next == expected.next);
    CHECK(stream.position() == order.position());
    CHECK(stream.epochs_done() == order.epochs_done());
  }
  CHECK(*corpus.reads == corpus.blocks());  // each once, in all epochs
}

TEST_CASE("a stream continues at any position, with any number of threads, and reads one buffer", "[train][threads]") {
  ef::ThreadPool pool(3);
  for (const bool vary : {false, true})
    for (const ef::Index buffer_blocks : {1, 2, 4, 100}) {
      const NumberedPairs corpus{.pairs = 37, .vary = vary};
      ef::StreamedBatchesOptions options{
          .max_tokens = 12, .buffer_blocks = buffer_blocks, .seed = 3, .blocks_vary = vary};
      ef::StreamedBatches whole(corpus.blocks(), corpus, options);
      options.threads = &pool;
      ef::StreamedBatches other(corpus.blocks(), corpus, options);
      std::vector<ef::BatchPosition> positions;
      std::vector<std::vector<ef::Token>> batches;
      for (int i = 0; i < 60; ++i) {
        positions.push_back(whole.position());
        batches.push_back(whole.next().source.ids);
      }
      for (std::size_t i = positions.size(); i-- > 0;) {
        CAPTURE(buffer_blocks, i);
        *corpus.reads = 0;
        other.seek(positions[i]);
        CHECK(*corpus.reads <= std::min(buffer_blocks, corpus.blocks()));
        CHECK(other.position() == positions[i]);
        CHECK(other.next().source.ids == batches[i]);
        if (i + 1 < batches.size()) CHECK(other.next().source.ids == batches[i + 1]);
      }
    }
}

TEST_CASE("links stay with their pairs in a stream", "[train][threads]") {
  // Pair i has i % 3 links, between tokens that no other pair links.
  const auto links_of = [](ef::Index pair) {
    ef::WordAlignment links;
    for (ef::Index link = 0; link < pair % 3; ++link) links.insert({pair + link, pair});
    return links;
  };
  ef::ThreadPool pool(3);
  for (const bool vary : {false, true})
    for (const ef::Index buffer_blocks : {1, 3, 100}) {
      CAPTURE(vary, buffer_blocks);
      const NumberedPairs corpus{.pairs = 37, .vary = vary};
      const auto read = [&](ef::Index epoch, ef::Index block) {
        ef::EncodedPairs part = corpus(epoch, block);
        // Forty more tokens, so that no link leaves its pair.
        std::vector<std::vector<ef::Token>> sources, targets;
        for (ef::Index i = 0; i < part.size(); ++i) {
          sources.emplace_back(part.source[i].begin(), part.source[i].end());
          sources.back().insert(sources.back().end(), 40, 9);
          targets.emplace_back(part.target[i].begin(), part.target[i].end());
          targets.back().insert(targets.back().end(), 40, 9);
          part.alignments.add(links_of(block * pairs_of_block + i), static_cast<ef::Index>(sources.back().size()),
                              static_cast<ef::Index>(targets.back().size()), "links");
        }
        return ef::EncodedPairs{ef::Tokens::of(sources), ef::Tokens::of(targets), std::move(part.alignments)};
      };
      ef::StreamedBatches stream(
          corpus.blocks(), read,
          {.max_tokens = 200, .buffer_blocks = buffer_blocks, .seed = 4, .blocks_vary = vary, .threads = &pool});
      ef::Index labels = 0;
      while (stream.position().epoch < 3) {
        const ef::TranslationBatch batch = stream.next();
        std::vector<ef::AlignmentLabel> expected;
        const std::vector<ef::Token> pairs = pairs_of(batch);
        for (std::size_t i = 0; i < pairs.size(); ++i) {
          const ef::WordAlignment links = links_of(pairs[i]);
          for (const ef::AlignmentLink& link : links)  // all links of a pair are of one target token
            expected.push_back({batch.target.rows.begin(static_cast<ef::Index>(i)) + link.target, link.source,
                                1 / static_cast<double>(links.size())});
        }
        CHECK(batch.alignment == expected);
        labels += static_cast<ef::Index>(expected.size());
      }
      CHECK(labels >= 3 * 36);  // the pairs have 36 links
    }
}

TEST_CASE("streams refuse blocks of which some pairs have links", "[train]") {
  const NumberedPairs corpus{.pairs = 6};
  const auto read = [&](ef::Index links) {
    return [&corpus, links](ef::Index epoch, ef::Index block) {
      ef::EncodedPairs part = corpus(epoch, block);
      for (ef::Index i = 0; i < (block == 0 ? part.size() : links); ++i) part.alignments.add({}, 1, 1, "links");
      return part;
    };
  };
  for (const ef::Index links : {0, 2})
    CHECK(ef::testing::message_of([&] { ef::StreamedBatches(corpus.blocks(), read(links)); }) ==
          "StreamedBatches: a block has 3 pairs, but links for " + std::to_string(links) + " of them");
  CHECK_NOTHROW(ef::StreamedBatches(corpus.blocks(), read(3)));
}

TEST_CASE("streams refuse empty corpora, faulty blocks and positions that do not exist", "[train][threads]") {
  using ef::testing::message_of;
  const NumberedPairs none{.pairs = 0}, one{.pairs = 1}, many{.pairs = 30};
  ef::StreamedBatches empty(1, none);
  CHECK(message_of([&] { empty.next(); }) == "StreamedBatches: the corpus has no pairs");
  ef::StreamedBatches two_empty(2, none, {.buffer_blocks = 1});
  CHECK(message_of([&] { two_empty.next(); }) == "StreamedBatches: the corpus has no pairs");
  // The only pair is found, even if it comes first in one epoch and last in the next.
  const ef::EncodedPairs pair = one(0, 0);
  ef::StreamedBatches rare(9, [&](ef::Index, ef::Index block) { return block == 4 ? pair : none(0, 0); },
                           {.buffer_blocks = 1});
  for (int i = 0; i < 50; ++i) CHECK(rare.next().source.sequences() == 1);
  CHECK(rare.batches_per_epoch() == 9);  // estimated from the buffer that has the pair
  ef::StreamedBatches stream(1, one);
  CHECK(message_of([&] { stream.seek({.epoch = 0, .batch = 2}); }) ==
        "StreamedBatches::seek: buffer 0 of epoch 0 has 1 batches, the position is batch 2; is it of another "
        "corpus?");
  stream.next();
  CHECK_THROWS_AS(stream.seek({.epoch = 5, .batch = 99}), ef::Error);
  CHECK(stream.position().epoch == 0);
  CHECK(pairs_of(stream.next()) == std::vector<ef::Token>{0});
  CHECK(stream.last_position().epoch == 1);
  CHECK_THROWS_AS(stream.seek({.epoch = -1}), ef::Error);
  CHECK_THROWS_AS(stream.seek({.batch = -1}), ef::Error);
  CHECK_THROWS_AS(stream.seek({.buffer = 1}), ef::Error);
  CHECK_THROWS_AS(ef::StreamedBatches(0, one), ef::Error);
  CHECK_THROWS_AS(ef::StreamedBatches(1, one, {.buffer_blocks = 0}), ef::Error);
  CHECK_THROWS_AS(ef::StreamedBatches(10, many, {.max_tokens = 5}), ef::Error);  // a sentence has 7 tokens

  // A buffer without pairs is passed over.
  ef::StreamedBatches sparse(
      5, [&](ef::Index epoch, ef::Index block) { return block == 3 ? one(epoch, 0) : none(epoch, 0); },
      {.buffer_blocks = 1});
  for (ef::Index epoch = 0; epoch < 3; ++epoch) {
    CHECK(pairs_of(sparse.next()) == std::vector<ef::Token>{0});
    CHECK(sparse.last_position().epoch == epoch);
    CHECK(sparse.epochs_done() == static_cast<double>(epoch + 1));  // the other buffers have no batch
  }
  // The first faulty block is named, whatever thread reads it.
  ef::ThreadPool pool(4);
  const auto faulty = [&](ef::Index epoch, ef::Index block) {
    ef::check(block < 4, "block ", block);
    return many(epoch, block);
  };
  for (int i = 0; i < 20; ++i)
    CHECK(message_of([&] { ef::StreamedBatches(10, faulty, {.threads = &pool}); }) == "block 4");
}

TEST_CASE("a stream goes on where it was after a buffer that cannot be read", "[train]") {
  const NumberedPairs corpus{.pairs = 40};
  bool fails = false;
  const auto read = [&](ef::Index epoch, ef::Index block) {
    ef::check(!fails, "the disk is gone");
    return corpus(epoch, block);
  };
  const ef::StreamedBatchesOptions options{.max_tokens = 12, .buffer_blocks = 4};
  ef::StreamedBatches stream(corpus.blocks(), read, options), undisturbed(corpus.blocks(), corpus, options);
  for (int i = 0; i < 60; ++i) {
    fails = true;
    const ef::BatchPosition before = stream.position();
    CHECK_THROWS_WITH(stream.seek({.epoch = 7, .batch = 0, .buffer = 1}), "the disk is gone");
    CHECK_THROWS_WITH(stream.next(), "the disk is gone");
    CHECK(stream.position() == before);
    fails = false;
    CHECK(pairs_of(stream.next()) == pairs_of(undisturbed.next()));
    CHECK(stream.position() == undisturbed.position());
  }
}

TEST_CASE("ranks read a stream together and see the same batches", "[train][threads]") {
  for (const bool has_links : {false, true})
    for (const ef::Index buffer_blocks : {1, 3, 100}) {
      const NumberedPairs corpus{.pairs = 23, .vary = true};
      const auto read = [&](ef::Index epoch, ef::Index block) {
        ef::EncodedPairs pairs = corpus(epoch, block);
        for (ef::Index i = 0; has_links && i < pairs.size(); ++i) {
          const auto source = static_cast<ef::Index>(pairs.source[i].size());
          const auto target = static_cast<ef::Index>(pairs.target[i].size());
          pairs.alignments.add({{0, target - 1}, {source - 1, 0}}, source, target, "test");
        }
        return pairs;
      };
      const ef::StreamedBatchesOptions options{
          .max_tokens = 14, .buffer_blocks = buffer_blocks, .seed = 2, .blocks_vary = true};
      ef::StreamedBatches alone(corpus.blocks(), read, options);
      std::vector<ef::TranslationBatch> expected;
      for (int i = 0; i < 40; ++i) expected.push_back(alone.next());
      const int reads_alone = *corpus.reads;
      for (const ef::Index size : {2, 3, 11}) {
        *corpus.reads = 0;
        std::mutex mutex;
        ef::testing::run_ranks(size, [&](ef::Ranks& ranks) {
          ef::StreamedBatchesOptions shared = options;
          shared.ranks = &ranks;
          ef::StreamedBatches batches(corpus.blocks(), read, shared);
          for (std::size_t i = 0; i < expected.size(); ++i) {
            if (i % 3 == 1) {
              batches.skip();
              continue;
            }
            const ef::TranslationBatch batch = batches.next();
            const std::lock_guard lock(mutex);
            CAPTURE(has_links, buffer_blocks, size, ranks.rank(), i);
            CHECK(batch.source.ids == expected[i].source.ids);
            CHECK(batch.target.ids == expected[i].target.ids);
            CHECK(batch.next == expected[i].next);
            CHECK(batch.alignment == expected[i].alignment);
            CHECK(batch.alignment.empty() != has_links);
          }
        });
        CHECK(*corpus.reads == reads_alone);  // no block is read twice
      }
    }
}
