#include "eigenformer/kernels/scores/dense_mask.hpp"

#include <memory>

#include "eigenformer/kernels/scores/score_traits.hpp"
#include "kernels/scores/score_checks.hpp"
#include "support/message_of.hpp"
#include "support/random.hpp"

namespace ef = eigenformer;
using ef::Index;
using ef::Matrix;
using ef::ScoreTile;
using namespace ef::testing;

static_assert(ef::Score<ef::DenseMask> && !ef::ScoreTraits<ef::DenseMask>::changes_values);

TEMPLATE_TEST_CASE("a dense mask hides where it is false on every tile", "[kernels]", float, double) {
  const auto seed = GENERATE(1U, 2U);
  CAPTURE(seed);
  ef::Rng rng(seed);
  for (const Index first_row : {0, 4, 61})
    for (const Index queries : {1, 5, 70})
      for (const Index keys : {1, 6})
        for (const Index visible_tenths : {0, 5, 9, 10}) {
          if (queries * keys > 100) continue;
          CAPTURE(first_row, queries, keys, visible_tenths);
          // Larger than asked for, and its other rows are of no concern.
          Matrix<bool> mask(first_row + queries + 1, keys + 2);
          for (Index i = 0; i < mask.size(); ++i) mask.data()[i] = rng.randint(10) < visible_tenths;
          const ef::DenseMask score(mask);
          CHECK(check_all_tiles<TestType>(score, sequence(queries, keys, first_row),
                                          [&](Index i, Index j) { return mask(first_row + i, j); }) == 0);
        }
}

TEMPLATE_TEST_CASE("a dense mask may have a matrix for each sequence and head", "[kernels]", float, double) {
  ef::Rng rng(4);
  // The tiles are of sequence 2 and head 3. Dimensions of size 1 are repeated.
  for (const Index batch : {1, 4})
    for (const Index heads : {1, 5})
      for (const Index queries : {1, 7, 66})
        for (const Index keys : {1, 5}) {
          CAPTURE(batch, heads, queries, keys);
          ef::Tensor<bool> mask({batch, heads, queries, keys});
          for (Index i = 0; i < mask.size(); ++i) mask.data()[i] = rng.randint(10) < 7;
          const ef::DenseMask score(mask);
          const ScoreTile whole = sequence(queries == 66 ? 66 : 7, queries == 66 ? 2 : 5, 9);
          CHECK(check_all_tiles<TestType>(score, whole, [&](Index i, Index j) {
                  return mask(batch == 1 ? 0 : 2, heads == 1 ? 0 : 3, queries == 1 ? 0 : i, keys == 1 ? 0 : j);
                }) == 0);
        }
}

TEST_CASE("a dense mask that does not cover the batch says so", "[kernels]") {
  ScoreTile batch = sequence(7, 5, 0);  // sequences 0 to 2, heads 0 to 3, queries 0 to 6, keys 0 to 4
  batch.query_end = 20;
  batch.key_end = 5;
  const auto message = [&](const ef::Sizes& shape) {
    return message_of([&] { ef::DenseMask(ef::Tensor<bool>(shape)).check_covers(batch); });
  };
  CHECK(message({3, 4, 7, 5}) == "nothing was thrown");
  CHECK(message({1, 1, 1, 1}) == "nothing was thrown");
  CHECK(message({20, 5}) == "nothing was thrown");
  CHECK(message({3, 1, 9, 6}) == "nothing was thrown");  // more queries and keys
  CHECK(
      message({4, 4, 7, 5}) ==
      "attention: the dense mask is [4 x 4 x 7 x 5], expected 3 sequences, 4 heads, at least 7 queries and at least 5 "
      "keys, or sizes of 1");
  for (const ef::Sizes& shape :
       {ef::Sizes{2, 4, 7, 5}, {3, 3, 7, 5}, {3, 4, 6, 5}, {3, 4, 7, 4}, {4, 1, 1, 5}, {1, 5, 1, 5}, {3, 8, 7, 5}}) {
    const std::string expected =
        ", expected 3 sequences, 4 heads, at least 7 queries and at least 5 keys, or sizes of 1";
    const std::string given = message(shape);
    CAPTURE(given);
    CHECK(given.find(expected) != std::string::npos);
  }
  CHECK(message({19, 5}) == "attention: the dense mask is [19 x 5], expected at least [20 x 5]");
  CHECK(message({4, 20, 5}) ==
        "DenseMask: a tensor [4 x 20 x 5], expected [query rows x keys] or [batch x heads x queries x keys]");
}

TEST_CASE("a dense mask is saved, and takes any matrix of bool", "[kernels]") {
  ef::Rng rng(3);
  ScoreTile tile = sequence(3, 4, 0);
  tile.query_end = 3;
  tile.key_end = 4;
  ByKeys<float> scores(3, 4);
  for (Index i = 0; i < scores.size(); ++i) scores.data()[i] = static_cast<float>(rng.randint(3));
  const auto hidden_by = [&](const ef::DenseMask& score) {
    ByKeys<float> s = scores;
    score.apply(tile, block_of(s));
    return Matrix<bool>((s.array() == ef::hidden_score<float>).matrix());
  };
  const Matrix<bool> expected = (scores.array() == 1).matrix();
  CHECK(hidden_by(ef::DenseMask(scores.array() != 1)) == expected);
  auto mask = std::make_unique<Eigen::Matrix<bool, Eigen::Dynamic, Eigen::Dynamic>>((scores.array() != 1).matrix());
  const ef::DenseMask score(*mask);
  const ef::DenseMask copy = score;
  mask->setConstant(false);
  mask.reset();
  CHECK(hidden_by(score) == expected);
  CHECK(hidden_by(copy) == expected);
  CHECK(copy.shape() == ef::Sizes{3, 4});
}

TEST_CASE("a dense mask that is too small says so", "[kernels]") {
  const auto message = [&](Index rows, Index keys) {
    ScoreTile batch;
    batch.query_end = 5;
    batch.key_end = 4;
    return ef::testing::message_of(
        [&] { ef::DenseMask(Matrix<bool>::Constant(rows, keys, true)).check_covers(batch); });
  };
  CHECK(message(4, 4) == "attention: the dense mask is [4 x 4], expected at least [5 x 4]");
  CHECK(message(5, 3) == "attention: the dense mask is [5 x 3], expected at least [5 x 4]");
  CHECK(message(5, 4) == "nothing was thrown");
}
