#include "eigenformer/kernels/scores/soft_cap.hpp"

#include "eigenformer/kernels/attention_backward.hpp"
#include "eigenformer/kernels/scores/score_traits.hpp"
#include "kernels/kernel_checks.hpp"
#include "kernels/scores/score_checks.hpp"
#include "support/message_of.hpp"

namespace ef = eigenformer;
using ef::Index;
using namespace ef::testing;

static_assert(ef::Score<ef::SoftCap> && ef::ScoreTraits<ef::SoftCap>::changes_values);
static_assert(ef::ScoreTraits<ef::SoftCap>::has_derivative<float>());

TEMPLATE_TEST_CASE("a soft cap is cap * tanh(score / cap), with its derivative", "[kernels]", float, double) {
  ef::Rng rng(1);
  for (const double cap : {0.5, 3.0, 50.0}) {
    CAPTURE(cap);
    const ByKeys<TestType> plain = random_matrix<TestType>(9, 5, rng, cap);
    ByKeys<TestType> scores = plain, saved(9, 5), d_scores = ByKeys<TestType>::Constant(9, 5, 2);
    const ef::SoftCap score(cap);
    score.apply(sequence(9, 5, 0), block_of(scores), block_of(saved));
    score.apply_backward(sequence(9, 5, 0), block_of(saved), block_of(d_scores));
    for (Index i = 0; i < plain.size(); ++i) {
      const double tanh = std::tanh(static_cast<double>(plain.data()[i]) / cap);
      CHECK(std::abs(static_cast<double>(scores.data()[i]) - cap * tanh) < cap * rounding<TestType>(8));
      CHECK(std::abs(static_cast<double>(d_scores.data()[i]) - 2 * (1 - tanh * tanh)) < rounding<TestType>(16));
    }
  }
}

TEMPLATE_TEST_CASE("a capped score depends on itself alone, and nothing beside the block is touched", "[kernels]",
                   float, double) {
  ef::Rng rng(2);
  constexpr Index lanes = ef::simd::lanes<TestType>;
  const ef::SoftCap score(3);
  for (Index queries = 1; queries <= 2 * lanes + 1; ++queries)
    for (const Index keys : {1, 2, 13})
      for (const Index gap : {0, 3}) {
        CAPTURE(queries, keys, gap);
        const ByKeys<TestType> plain = random_matrix<TestType>(queries + gap, keys, rng, 5);
        const auto tile = sequence(queries, keys, 0);
        const auto block = [&](ByKeys<TestType>& m) {
          return ef::ScoreBlock<TestType>(m.data(), queries, keys, Eigen::OuterStride<>(queries + gap));
        };
        ByKeys<TestType> scores = plain, again = plain, saved = plain, d_scores = plain;
        score.apply(tile, block(scores));
        score.apply(tile, block(again), block(saved));
        score.apply_backward(tile, block(saved), block(d_scores));
        ByKeys<TestType> expected = plain, saved_expected = plain, d_expected = plain;
        for (Index i = 0; i < queries; ++i)
          for (Index j = 0; j < keys; ++j) {
            ByKeys<TestType> one = plain.block(i, j, 1, 1), saved_one = one, d_one = one;
            score.apply(sequence(1, 1, 0), block_of(one), block_of(saved_one));
            score.apply_backward(sequence(1, 1, 0), block_of(saved_one), block_of(d_one));
            expected(i, j) = one(0, 0);
            saved_expected(i, j) = saved_one(0, 0);
            d_expected(i, j) = d_one(0, 0);
          }
        CHECK(identical<TestType>(scores, expected));
        CHECK(identical<TestType>(again, expected));
        CHECK(identical<TestType>(saved, saved_expected));
        CHECK(identical<TestType>(d_scores, d_expected));
      }
}

TEMPLATE_TEST_CASE("the derivative at an infinite score is that of the cap there: 0", "[kernels]", float, double) {
  using Matrix = ef::Matrix<TestType>;
  const Matrix q = Matrix::Constant(1, 1, std::numeric_limits<TestType>::infinity()), d_out = Matrix::Ones(1, 1);
  Matrix k(2, 1), v(2, 1), out(1, 1), log_sum_exp(1, 1), d_q(1, 1), d_k(2, 1), d_v(2, 1);
  k << 1, 2;
  v << 1, 2;
  const ef::SoftCap cap(30);
  ef::attention_forward<TestType>({q, k, v}, cap, {}, {out, log_sum_exp});
  CHECK(out(0, 0) == TestType(1.5));
  ef::attention_backward<TestType>({q, k, v}, cap, {}, {out, log_sum_exp}, d_out, {d_q, d_k, d_v});
  CHECK(std::abs(d_q(0, 0)) < tolerance<TestType>(4));  // at a score of 0 the derivative would be 1
  CHECK(max_error(d_v, Matrix::Constant(2, 1, TestType(0.5))) < tolerance<TestType>(32));
}

TEST_CASE("a soft cap is a normal number of float above 0", "[kernels]") {
  using Limits = std::numeric_limits<float>;
  CHECK(ef::SoftCap(30).cap() == 30);
  CHECK(message_of([] { ef::SoftCap(0); }) == "SoftCap: cap is 0, expected a normal float above 0");
  CHECK(message_of([] { ef::SoftCap{std::numeric_limits<double>::infinity()}; }) ==
        "SoftCap: cap is inf, expected a normal float above 0");
  for (const double cap : {-1.0, 1e-40, 1e39, std::numeric_limits<double>::quiet_NaN()})
    CHECK_THROWS_AS(ef::SoftCap(cap), ef::Error);
  // With the smallest and the largest cap, no score becomes NaN.
  for (const double cap : {static_cast<double>((Limits::min)()), static_cast<double>((Limits::max)())}) {
    CAPTURE(cap);
    ByKeys<float> scores(1, 3), d_scores = ByKeys<float>::Ones(1, 3);
    scores << 0, 1, -1000;
    ByKeys<float> saved = scores;
    const ef::SoftCap score(cap);
    score.apply(sequence(1, 3, 0), block_of(scores), block_of(saved));
    score.apply_backward(sequence(1, 3, 0), block_of(saved), block_of(d_scores));
    CHECK(scores(0, 0) == 0);
    CHECK(scores.allFinite());
    CHECK(d_scores.allFinite());
  }
}
