#include "eigenformer/kernels/scores/combine.hpp"

#include <cmath>

#include "eigenformer/kernels/scores/alibi.hpp"
#include "eigenformer/kernels/scores/sliding_window.hpp"
#include "eigenformer/kernels/scores/soft_cap.hpp"
#include "kernels/scores/score_checks.hpp"
#include "support/random.hpp"

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
  static_assert(ef::ScoreTraits<ef::CombinedScore<ef::SoftCap, ef::Causal>>::changes_values);
  static_assert(!ef::ScoreTraits<ef::CombinedScore<ef::SlidingWindow, ef::Causal>>::changes_values);
  static_assert(!ef::ScoreTraits<ef::CombinedScore<ef::Alibi, ef::Causal>>::has_derivative<float>());
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
  // 2 tanh(3 tanh(s / 3) / 2) and a bias that has none.
  const auto score = ef::combine(ef::SoftCap(3), ef::Alibi(4), ef::SoftCap(2));
  static_assert(decltype(score)::saved_blocks == 2);
  constexpr Index queries = 5, keys = 3, gap = 2;
  ef::Rng rng(4);
  ScoreTile tile = sequence(queries, keys, 0);
  tile.query_end = queries;
  tile.key_end = keys;
  const auto value = [&](const ByKeys<double>& s) {
    ByKeys<double> changed = s;
    score.apply(tile, block_of(changed));
    return changed;
  };
  const auto block = [&](double* entries) {
    return ef::ScoreBlock<double>(entries, queries, keys, Eigen::OuterStride<>(queries + gap));
  };
  const ByKeys<double> plain = random_matrix<double>(queries, keys, rng);
  ByKeys<double> scores(queries + gap, keys), saved(queries + gap, 2 * keys), d(queries + gap, keys);
  block(scores.data()) = plain;
  block(d.data()).setOnes();
  score.apply(tile, block(scores.data()), block(saved.data()));
  score.apply_backward(tile, block(saved.data()), block(d.data()));
  CHECK(block(scores.data()) == value(plain));
  const ByKeys<double> step = ByKeys<double>::Constant(queries, keys, 1e-6);
  const ByKeys<double> expected = (value(plain + step) - value(plain - step)) / 2e-6;
  CHECK((block(d.data()) - expected).cwiseAbs().maxCoeff() < 1e-8);
  const double s = plain(0, 0);  // where the bias is 0
  CHECK(std::abs(value(plain)(0, 0) - 2 * std::tanh(3 * std::tanh(s / 3) / 2)) < 1e-14);
}
