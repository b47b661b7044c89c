#include "eigenformer/kernels/scores/score_function.hpp"

#include <algorithm>
#include <functional>
#include <utility>

#include "kernels/kernel_checks.hpp"
#include "kernels/scores/score_checks.hpp"

namespace ef = eigenformer;
using ef::Index;
using namespace ef::testing;

TEMPLATE_TEST_CASE("functions are called with the score and its position", "[kernels]", float, double) {
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
      ByKeys<TestType> scores = plain, again = plain, saved(queries, keys);
      ByKeys<TestType> d_scores = ByKeys<TestType>::Constant(queries, keys, 3);
      const auto squared = ef::score([](auto s, const ef::ScorePosition& at) {
        const int place = 1000 * at.key + 100 * at.head + 10 * at.sequence + at.keys - at.queries;
        return s * s * static_cast<float>(at.query) + static_cast<float>(place);
      });
      squared.apply(tile, block_of(scores));
      squared.apply(tile, block_of(again), block_of(saved));
      squared.apply_backward(tile, block_of(saved), block_of(d_scores));
      for (Index i = 0; i < queries; ++i)
        for (Index j = 0; j < keys; ++j) {
          const auto s = static_cast<double>(plain(i, j)), row = static_cast<double>(3 + i);
          const double place = 1000.0 * static_cast<double>(5 + j) + 300 + 20 + 10;
          for (const ByKeys<TestType>* changed : {&scores, &again})
            CHECK(std::abs(static_cast<double>((*changed)(i, j)) - (s * s * row + place)) <
                  1e5 * rounding<TestType>(4));
          CHECK(std::abs(static_cast<double>(d_scores(i, j)) - 3 * 2 * s * row) < 1e3 * rounding<TestType>(4));
        }
      const auto earlier = ef::mask([](const ef::ScorePosition& at) { return at.key < at.query; });
      check_tile<TestType>(earlier, tile, [](Index i, Index j) { return j < i; });
    }
}

namespace {

float halved(float s, const ef::ScorePosition&) {
  return s / 2;
}
bool is_first(const ef::ScorePosition& at) {
  return at.key == 0;
}

}  // namespace

TEST_CASE(
    "functions may be plain ones, of one type, of integers, and of the C library where only the result is asked for",
    "[kernels]") {
  const auto changed = [](const auto& score) {
    ByKeys<float> scores = ByKeys<float>::Constant(1, 2, 2);
    ef::ScoreTile tile = sequence(1, 2, 0);
    tile.query_end = 1;
    tile.key_end = 2;
    score.apply(tile, block_of(scores));
    return std::pair(scores(0, 0), scores(0, 1));
  };
  using Two = std::pair<float, float>;
  CHECK(changed(ef::score(halved)) == Two(1, 1));
  CHECK(changed(ef::score(&halved)) == Two(1, 1));
  CHECK(changed(ef::score([](double s, ef::ScorePosition) { return s + 1; })) == Two(3, 3));
  CHECK(changed(ef::score([](auto s, auto at) { return at.key > 0 ? s : 0; })) == Two(0, 2));
  CHECK(changed(ef::score([](auto s, auto) { return std::max(s, 3.0F); })) == Two(3, 3));
  CHECK(changed(ef::score(std::function<float(float, ef::ScorePosition)>(halved))) == Two(1, 1));
  CHECK(changed(ef::mask(is_first)) == Two(2, ef::hidden_score<float>));
  CHECK(changed(ef::mask([](auto at) { return (at.key == 1) & (at.query == 0); })) == Two(ef::hidden_score<float>, 2));
}

TEST_CASE("a score that a bias has hidden has no derivative", "[kernels]") {
  ByKeys<float> hidden = ByKeys<float>::Constant(3, 1, ef::hidden_score<float>), saved(3, 1);
  ByKeys<float> d = ByKeys<float>::Ones(3, 1);
  const auto squared = ef::score([](auto s, const ef::ScorePosition&) { return s * s; });
  squared.apply(sequence(3, 1, 0), block_of(hidden), block_of(saved));
  squared.apply_backward(sequence(3, 1, 0), block_of(saved), block_of(d));
  CHECK((d.array() == 0).all());
}
