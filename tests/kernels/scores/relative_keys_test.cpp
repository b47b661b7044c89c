#include "eigenformer/kernels/scores/relative_keys.hpp"

#include "eigenformer/kernels/scores/score_traits.hpp"
#include "kernels/kernel_checks.hpp"
#include "kernels/scores/score_checks.hpp"
#include "support/message_of.hpp"

namespace ef = eigenformer;
using ef::Index;
using ef::Tensor;
using namespace ef::testing;

static_assert(ef::Score<ef::RelativeKeys<float>> && ef::ScoreTraits<ef::RelativeKeys<float>>::changes_values);
static_assert(ef::ScoreTraits<ef::RelativeKeys<float>>::sequences_share_gradient);
static_assert(!ef::ScoreTraits<ef::RelativeKeys<float>>::heads_share_gradient);

TEMPLATE_TEST_CASE("every tile gets the terms of its clipped distances, and they its gradients", "[kernels]", float,
                   double) {
  const std::uint64_t seed = 5;
  CAPTURE(seed);
  ef::Rng rng(seed);
  for (const Index k : {1, 2, 5, 30})
    for (const bool after_past : {false, true}) {
      Tensor<TestType> terms({25, 4, 2 * k + 1}), d_terms({25, 4, 2 * k + 1});
      for (Index i = 0; i < terms.size(); ++i) terms.data()[i] = static_cast<TestType>(rng.normal());
      const ef::RelativeKeys<TestType> plain(ef::TensorView<const TestType>(terms.view()), d_terms.view());
      const ef::RelativeKeys<TestType> score = after_past ? plain.after_past() : plain;
      const Index past = after_past ? 26 - 19 : 0;
      for (int repeat = 0; repeat < 60; ++repeat) {
        ef::ScoreTile tile = sequence(19, 26, 6);
        tile.query_begin = rng.randint(19);
        tile.query_end = tile.query_begin + 1 + rng.randint(19 - tile.query_begin);
        tile.key_begin = rng.randint(26);
        tile.key_end = tile.key_begin + 1 + rng.randint(26 - tile.key_begin);
        CAPTURE(k, after_past, tile.query_begin, tile.query_end, tile.key_begin, tile.key_end);
        const Index n = tile.query_end - tile.query_begin, m = tile.key_end - tile.key_begin;
        ByKeys<TestType> scores = random_matrix<TestType>(n, m, rng), d_scores = random_matrix<TestType>(n, m, rng);
        ByKeys<TestType> expected = scores;
        std::fill_n(d_terms.data(), d_terms.size(), TestType(1));  // what is there stays
        Tensor<TestType> expected_d = d_terms;
        for (Index i = 0; i < n; ++i)
          for (Index j = 0; j < m; ++j) {
            const Index distance = tile.key_begin + j - (tile.query_begin + i + past);
            const Index clipped = std::max(-k, std::min(k, distance));
            const Index row = 6 + tile.query_begin + i;
            expected(i, j) += terms(row, 3, k + clipped);
            expected_d(row, 3, k + clipped) += d_scores(i, j);
          }
        score.apply(tile, block_of(scores));
        CHECK(scores == expected);
        score.apply_backward(tile, block_of(d_scores));
        double largest = 0;
        for (Index i = 0; i < d_terms.size(); ++i)
          largest = std::max(largest, std::abs(static_cast<double>(d_terms.data()[i] - expected_d.data()[i])));
        CHECK(largest < rounding<TestType>(64));
      }
    }
}

TEST_CASE("relative keys that make no sense say so", "[kernels]") {
  const Tensor<float> even({2, 3, 4}), one({2, 3, 1}), good({2, 3, 3});
  Tensor<float> other({2, 3, 5});
  CHECK(message_of([&] { ef::RelativeKeys<float>(even.view()); }) ==
        "RelativeKeys: terms have 4 distances, expected 2k + 1 for a k of 1 or more");
  CHECK(message_of([&] { ef::RelativeKeys<float>(one.view()); }) ==
        "RelativeKeys: terms have 1 distances, expected 2k + 1 for a k of 1 or more");
  CHECK(message_of([&] { ef::RelativeKeys<float>(good.view(), other.view()); }) ==
        "RelativeKeys: d_terms are [2 x 3 x 5], terms are [2 x 3 x 3]");
  CHECK(message_of([&] { ef::RelativeKeys<float>(good.select(0, 0)); }) ==
        "RelativeKeys: terms are [3 x 3], expected [queries x heads x distances]");
}
