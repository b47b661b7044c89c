#include "eigenformer/kernels/scores/causal.hpp"

#include "kernels/scores/score_checks.hpp"

namespace ef = eigenformer;
using ef::Index;
using ef::Matrix;
using ef::ScoreTile;
using namespace ef::testing;

static_assert(ef::Score<ef::Unmasked> && ef::Score<ef::Causal>);
static_assert(!ef::Score<int>);

TEMPLATE_TEST_CASE("scores hide what they should on every tile", "[kernels]", float, double) {
  for (const Index queries : {1, 3, 6})
    for (const Index keys : {1, 3, 6}) {  // queries > keys too, where after_past leaves the first ones nothing
      CAPTURE(queries, keys);
      const ScoreTile tile = sequence(queries, keys, 0);
      CHECK(check_all_tiles<TestType>(ef::Unmasked{}, tile, [](Index, Index) { return true; }) == 0);
      CHECK(check_all_tiles<TestType>(ef::Causal{}, tile, [](Index i, Index j) { return j <= i; }) == 0);
      CHECK(check_all_tiles<TestType>(ef::Causal::after_past(), tile,
                                      [&](Index i, Index j) { return j <= i + keys - queries; }) == 0);
    }
}

TEST_CASE("causal masks as their definition draws them", "[kernels]") {
  const auto seen = [](const ef::Causal& score, Index queries, Index keys) {
    ScoreTile tile = sequence(queries, keys, 0);
    tile.query_end = queries;
    tile.key_end = keys;
    ByKeys<float> scores = ByKeys<float>::Zero(queries, keys);
    score.apply(tile, block_of(scores));
    return Eigen::MatrixXi((scores.array() == 0).cast<int>().matrix());
  };
  const Eigen::MatrixXi top_left{{1, 0, 0, 0}, {1, 1, 0, 0}};
  const Eigen::MatrixXi bottom_right{{1, 1, 1, 0}, {1, 1, 1, 1}};
  const Eigen::MatrixXi fewer_keys{{0, 0}, {1, 0}, {1, 1}};
  const Eigen::MatrixXi fewer_keys_top_left{{1, 0}, {1, 1}, {1, 1}};
  CHECK(seen(ef::Causal{}, 2, 4) == top_left);
  CHECK(seen(ef::Causal::after_past(), 2, 4) == bottom_right);
  CHECK(seen(ef::Causal::after_past(), 3, 2) == fewer_keys);
  CHECK(seen(ef::Causal{}, 3, 2) == fewer_keys_top_left);
  CHECK(seen(ef::Causal::after_past(), 3, 3) == seen(ef::Causal{}, 3, 3));
  CHECK(ef::Causal{} == ef::Causal{});
  CHECK(ef::Causal{} != ef::Causal::after_past());
}

TEST_CASE("scores can be applied within a larger matrix", "[kernels]") {
  ScoreTile tile = sequence(4, 4, 0);
  tile.query_begin = tile.key_begin = 1;
  tile.query_end = tile.key_end = 4;
  ByKeys<float> around = ByKeys<float>::Constant(5, 7, 2);
  ef::Causal{}.apply(tile, ef::ScoreBlock<float>(&around(1, 2), 3, 3, Eigen::OuterStride<>(5)));
  for (Index i = 0; i < 5; ++i)
    for (Index j = 0; j < 7; ++j) {
      const bool inside = i >= 1 && i < 4 && j >= 2 && j < 5;
      CHECK(around(i, j) == (inside && j - 2 > i - 1 ? ef::hidden_score<float> : 2.0F));
    }
}
