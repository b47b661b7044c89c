#include "eigenformer/train/batch_order.hpp"

#include <set>

#include "support/catch.hpp"
#include "support/message_of.hpp"

namespace ef = eigenformer;

namespace {

ef::Tokens sentences_of(const std::vector<ef::Index>& lengths) {
  std::vector<std::vector<ef::Token>> sentences;
  for (const ef::Index length : lengths) sentences.emplace_back(static_cast<std::size_t>(length), ef::Token{3});
  return ef::Tokens::of(sentences);
}

const std::vector<ef::Index> lengths{3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9};

}  // namespace

TEST_CASE("each epoch has every sentence once, in an order of its own", "[train]") {
  const ef::Tokens corpus = sentences_of(lengths);
  ef::BatchOrder order(corpus, corpus, {.max_tokens = 20, .seed = 3});
  std::set<std::vector<std::vector<ef::Index>>> orders;
  for (ef::Index epoch = 0; epoch < 5; ++epoch) {
    std::vector<std::vector<ef::Index>> batches;
    std::vector<ef::Index> seen;
    do {
      batches.push_back(order.next());
      CHECK(order.position() == ef::BatchPosition{epoch, static_cast<ef::Index>(batches.size())});
      ef::Index tokens = 0;
      for (const ef::Index sentence : batches.back()) tokens += lengths[static_cast<std::size_t>(sentence)] + 1;
      CHECK(tokens <= 20);
      seen.insert(seen.end(), batches.back().begin(), batches.back().end());
    } while (order.epochs_done() < static_cast<double>(epoch + 1));
    std::sort(seen.begin(), seen.end());
    CHECK(seen == std::vector<ef::Index>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14});
    orders.insert(batches);
  }
  CHECK(orders.size() == 5);
  CHECK(std::abs(order.batches_per_epoch() - 6) <= 2);
}

TEST_CASE("the order continues at any position, forwards and backwards", "[train]") {
  const ef::Tokens corpus = sentences_of(lengths);
  const ef::BatchOrderOptions options{.max_tokens = 20, .seed = 4};
  ef::BatchOrder whole(corpus, corpus, options), other(corpus, corpus, options);
  std::vector<ef::BatchPosition> positions;
  std::vector<std::vector<ef::Index>> batches;
  for (int i = 0; i < 25; ++i) {
    positions.push_back(whole.position());
    batches.push_back(whole.next());
  }
  for (std::size_t i = positions.size(); i-- > 0;) {
    other.seek(positions[i]);
    CHECK(other.position() == positions[i]);
    CHECK(other.next() == batches[i]);
    if (i + 1 < batches.size()) CHECK(other.next() == batches[i + 1]);
  }
}

TEST_CASE("positions that an order does not have are refused", "[train]") {
  const ef::Tokens corpus = sentences_of({1, 2}), none = ef::Tokens::of({});
  ef::BatchOrder order(corpus, corpus, {.max_tokens = 10});
  CHECK(ef::testing::message_of([&] {
          order.seek({0, 2});
        }) == "BatchOrder::seek: epoch 0 has 1 batches, the position is batch 2; is it of another corpus?");
  CHECK_THROWS_AS(order.seek({-1, 0}), ef::Error);
  CHECK_THROWS_AS(order.seek({.epoch = 0, .batch = 0, .buffer = 7}), ef::Error);
  order.next();
  CHECK_THROWS_AS(order.seek({.epoch = 5, .batch = 99}), ef::Error);
  CHECK((order.position().epoch == 0 && order.position().batch == 1));
  CHECK_THROWS_AS(ef::BatchOrder(none, none), ef::Error);
}

TEST_CASE("updates and epochs have generators of their own", "[train]") {
  std::set<std::uint32_t> draws;
  for (const std::uint64_t seed : {0U, 1U}) {
    draws.insert(ef::Rng(seed)());
    for (ef::Index i = 0; i < 100; ++i) {
      draws.insert(ef::update_rng(seed, i)());
      draws.insert(ef::update_rng(seed, i, 1)());
      draws.insert(ef::epoch_rng(seed, i)());
    }
  }
  CHECK(draws.size() == 602);
  CHECK(ef::update_rng(5, 9).split().key == ef::update_rng(5, 9).split().key);
}
