#include "eigenformer/kernels/detail/attention/score_packets.hpp"

#include "kernels/scores/score_checks.hpp"

namespace ef = eigenformer;
using ef::Index;
using ef::ScoreTile;
using namespace ef::testing;

TEMPLATE_TEST_CASE("a band is hidden from packets of queries as from one", "[kernels]", float, double) {
  constexpr Index lanes = ef::simd::lanes<TestType>;
  ScoreTile tile;
  tile.key_begin = 5;
  for (const Index queries : {Index{1}, lanes - 1, lanes, 2 * lanes + 3})
    for (const Index keys : {Index{1}, Index{7}, 3 * lanes})
      for (Index first = -queries - 2; first <= keys + 2; first += 3)
        for (Index last = -queries - 2; last <= keys + 2; last += 2) {
          CAPTURE(queries, keys, first, last);
          ByKeys<TestType> scores = ByKeys<TestType>::Zero(queries, keys);
          ef::detail::hide_outside_band(tile, tile.key_begin + first, tile.key_begin + last, block_of(scores));
          Index wrong = 0;
          for (Index i = 0; i < queries; ++i)
            for (Index j = 0; j < keys; ++j) {
              const bool seen = first + i <= j && j <= last + i;
              wrong += scores(i, j) != (seen ? TestType(0) : ef::hidden_score<TestType>);
            }
          CHECK(wrong == 0);
        }
}

TEMPLATE_TEST_CASE("every score is changed by the same formula, wherever it lies", "[kernels]", float, double) {
  constexpr Index lanes = ef::simd::lanes<TestType>;
  const auto twice_plus = [](const auto& s, const auto& added) { return ef::simd::add(ef::simd::add(s, s), added); };
  for (const Index queries : {Index{1}, lanes - 1, lanes, 2 * lanes + 1})
    for (const Index keys : {1, 3, 8})
      for (const Index gap : {0, 3}) {
        if (queries == 0) continue;
        CAPTURE(queries, keys, gap);
        ByKeys<TestType> scores = ByKeys<TestType>::Constant(queries + gap, keys, 77), added = scores;
        for (Index j = 0; j < keys; ++j)
          for (Index i = 0; i < queries; ++i) {
            scores(i, j) = static_cast<TestType>(i + 1);
            added(i, j) = static_cast<TestType>(100 * j);
          }
        const auto block = [&](ByKeys<TestType>& m) {
          return ef::ScoreBlock<TestType>(m.data(), queries, keys, Eigen::OuterStride<>(queries + gap));
        };
        ef::detail::change_packets(twice_plus, block(scores), block(added));
        for (Index j = 0; j < keys; ++j) {
          for (Index i = 0; i < queries; ++i) CHECK(scores(i, j) == static_cast<TestType>(2 * (i + 1) + 100 * j));
          for (Index i = queries; i < queries + gap; ++i) CHECK(scores(i, j) == 77);
        }
      }
}
