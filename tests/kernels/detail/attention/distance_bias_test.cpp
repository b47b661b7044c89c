#include "eigenformer/kernels/detail/attention/distance_bias.hpp"

#include "kernels/kernel_checks.hpp"
#include "kernels/scores/score_checks.hpp"

namespace ef = eigenformer;
using ef::Index;
using namespace ef::testing;

TEMPLATE_TEST_CASE("a bias by distance is one number along a diagonal, and so is its gradient", "[kernels]", float,
                   double) {
  ef::Rng rng(1);
  for (const Index past : {0, 5, -3})
    for (const Index queries : {1, 3, 16})
      for (const Index keys : {1, 4, 17}) {
        CAPTURE(past, queries, keys);
        ef::ScoreTile tile = sequence(40, 40, 0);
        tile.query_begin = 7;
        tile.query_end = 7 + queries;
        tile.key_begin = 11;
        tile.key_end = 11 + keys;
        const auto bias = [](Index distance) { return static_cast<TestType>(3 * distance * distance - distance); };
        ByKeys<TestType> scores = ByKeys<TestType>::Constant(queries, keys, 5);
        ef::detail::add_distance_bias(tile, past, block_of(scores), bias);
        for (Index i = 0; i < queries; ++i)
          for (Index j = 0; j < keys; ++j) CHECK(scores(i, j) == 5 + bias(past + 7 + i - (11 + j)));

        ByKeys<TestType> d_scores = random_matrix<TestType>(queries, keys, rng);
        Index calls = 0;
        ef::detail::sum_distances(tile, past, block_of(d_scores), [&](Index distance, TestType sum) {
          double expected = 0;
          for (Index i = 0; i < queries; ++i)
            for (Index j = 0; j < keys; ++j)
              if (past + 7 + i - (11 + j) == distance) expected += static_cast<double>(d_scores(i, j));
          CHECK(std::abs(static_cast<double>(sum) - expected) < rounding<TestType>(64));
          ++calls;
        });
        CHECK(calls == queries + keys - 1);
      }
}
