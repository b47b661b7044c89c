#include "eigenformer/kernels/score_function.hpp"

#include "kernels/kernel_checks.hpp"
#include "kernels/score_checks.hpp"

namespace ef = eigenformer;
using ef::Index;
using namespace ef::testing;

TEMPLATE_TEST_CASE("functions are called with the score and its place", "[kernels]", float, double) {
  ef::Rng rng(1);
  for (const Index queries : {1, 5, 8, 19})
    for (const Index keys : {1, 6}) {
      CAPTURE(queries, keys);
      ef::ScoreTile tile = sequence(40, 50, 6);  // of head 3 and sequence 2
      tile.query_begin = 3;
      tile.query_end = 3 + queries;
      tile.key_begin = 5;
      tile.key_end = 5 + keys;
      const ByKeys<TestType> plain = random_matrix<TestType>(queries, keys, rng);
      ByKeys<TestType> scores = plain, again = plain, kept(queries, keys);
      ByKeys<TestType> d_scores = ByKeys<TestType>::Constant(queries, keys, 3);
      const auto squared = ef::score([](auto s, const ef::ScorePlace& at) {
        const int place = 1000 * at.key + 100 * at.head + 10 * at.sequence + at.keys - at.queries;
        return s * s * static_cast<float>(at.query) + static_cast<float>(place);
      });
      squared.apply(tile, block_of(scores));
      squared.apply(tile, block_of(again), block_of(kept));
      squared.apply_backward(tile, block_of(kept), block_of(d_scores));
      for (Index i = 0; i < queries; ++i)
        for (Index j = 0; j < keys; ++j) {
          const auto s = static_cast<double>(plain(i, j)), row = static_cast<double>(3 + i);
          const double place = 1000.0 * static_cast<double>(5 + j) + 300 + 20 + 10;
          for (const ByKeys<TestType>* changed : {&scores, &again})
            CHECK(std::abs(static_cast<double>((*changed)(i, j)) - (s * s * row + place)) <
                  1e5 * rounding<TestType>(4));
          CHECK(std::abs(static_cast<double>(d_scores(i, j)) - 3 * 2 * s * row) < 1e3 * rounding<TestType>(4));
        }
      const auto earlier = ef::mask([](const ef::ScorePlace& at) { return at.key < at.query; });
      check_tile<TestType>(earlier, tile, [](Index i, Index j) { return j < i; });
    }
}

TEST_CASE("a score that a bias has hidden has no derivative", "[kernels]") {
  ByKeys<float> hidden = ByKeys<float>::Constant(3, 1, ef::hidden_score<float>), kept(3, 1);
  ByKeys<float> d = ByKeys<float>::Ones(3, 1);
  const auto squared = ef::score([](auto s, const ef::ScorePlace&) { return s * s; });
  squared.apply(sequence(3, 1, 0), block_of(hidden), block_of(kept));
  squared.apply_backward(sequence(3, 1, 0), block_of(kept), block_of(d));
  CHECK((d.array() == 0).all());
}
