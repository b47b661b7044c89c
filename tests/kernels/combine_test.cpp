#include "eigenformer/kernels/combine.hpp"

#include <cmath>

#include "eigenformer/kernels/alibi.hpp"
#include "eigenformer/kernels/sliding_window.hpp"
#include "eigenformer/kernels/soft_cap.hpp"
#include "kernels/score_checks.hpp"

namespace ef = eigenformer;
using ef::Index;
using ef::ScoreTile;
using ef::Visible;
using namespace ef::testing;

TEST_CASE("scores combine in one order, whatever the order of the arguments", "[kernels]") {
  const auto a = ef::combine(ef::Causal{}, ef::SoftCap(3));
  const auto b = ef::combine(ef::SoftCap(3), ef::combine(ef::Causal{}));
  static_assert(std::is_same_v<decltype(a), decltype(b)>);
  static_assert(std::is_same_v<std::remove_cvref_t<decltype(a)>, ef::CombinedScore<ef::SoftCap, ef::Causal>>);
  static_assert(ef::detail::changes_values<ef::CombinedScore<ef::SoftCap, ef::Causal>>);
  static_assert(!ef::detail::changes_values<ef::CombinedScore<ef::SlidingWindow, ef::Causal>>);
  static_assert(!ef::detail::has_derivative<ef::CombinedScore<ef::Alibi, ef::Causal>, float>);
}

TEMPLATE_TEST_CASE("what one of several scores hides is hidden on every tile", "[kernels]", float, double) {
  const auto score = ef::combine(ef::SlidingWindow(3), ef::Causal{});
  for (const Index queries : {1, 3, 7})
    for (const Index keys : {1, 3, 7}) {
      CAPTURE(queries, keys);
      // Of a tile where each hides a part it may not be known that nothing is left: that costs time alone.
      check_all_tiles<TestType>(score, sequence(queries, keys, 0),
                                [](Index i, Index j) { return j <= i && i - j < 3; });
    }
  ScoreTile tile = sequence(100, 100, 0);
  tile.query_begin = 50;
  tile.query_end = 60;
  const auto visible = [&](Index begin, Index end) {
    tile.key_begin = begin;
    tile.key_end = end;
    return score.visible(tile);
  };
  CHECK(visible(0, 48) == Visible::none);
  CHECK(visible(60, 100) == Visible::none);
  CHECK(visible(40, 70) == Visible::some);
}

TEST_CASE("a combined derivative is that of each after the others", "[kernels]") {
  // 2 tanh(3 tanh(s / 3) / 2) and a bias that has none, at one score.
  const auto score = ef::combine(ef::SoftCap(3), ef::Alibi(4), ef::SoftCap(2));
  static_assert(decltype(score)::kept_blocks == 2);
  ByKeys<double> scores = ByKeys<double>::Constant(1, 1, 0.7), kept(1, 2), d = ByKeys<double>::Constant(1, 1, 1);
  ScoreTile tile = sequence(1, 1, 0);
  tile.query_end = tile.key_end = 1;
  const auto value = [&](double s) {
    ByKeys<double> one = ByKeys<double>::Constant(1, 1, s);
    score.apply(tile, block_of(one));
    return one(0, 0);
  };
  const ef::ScoreBlock<double> kept_block(kept.data(), 1, 1, Eigen::OuterStride<>(1));
  score.apply(tile, block_of(scores), kept_block);
  score.apply_backward(tile, kept_block, block_of(d));
  CHECK(scores(0, 0) == value(0.7));
  CHECK(std::abs(value(0.7) - 2 * std::tanh(3 * std::tanh(0.7 / 3) / 2)) < 1e-14);
  CHECK(std::abs(d(0, 0) - (value(0.7 + 1e-6) - value(0.7 - 1e-6)) / 2e-6) < 1e-8);
}
