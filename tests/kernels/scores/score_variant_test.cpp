#include "eigenformer/kernels/scores/score_variant.hpp"

#include "eigenformer/kernels/scores/alibi.hpp"
#include "eigenformer/kernels/scores/dense_mask.hpp"
#include "eigenformer/kernels/scores/relative_bias.hpp"
#include "eigenformer/kernels/scores/score_function.hpp"
#include "eigenformer/kernels/scores/sliding_window.hpp"
#include "kernels/kernel_checks.hpp"
#include "kernels/scores/score_checks.hpp"
#include "support/message_of.hpp"

namespace ef = eigenformer;
using ef::Index;
using namespace ef::testing;

using Mask = ef::ScoreVariant<ef::Unmasked, ef::Causal, ef::DenseMask>;
using Bias = ef::ScoreVariant<ef::Alibi, ef::RelativeBias<float>>;

static_assert(ef::Score<Mask> && !ef::ScoreTraits<Mask>::changes_values);
static_assert(!ef::ScoreTraits<Mask>::has_derivative<float>() && !ef::ScoreTraits<Mask>::sequences_share_gradient);
static_assert(ef::Score<Bias> && ef::ScoreTraits<Bias>::changes_values);
static_assert(ef::ScoreTraits<Bias>::has_derivative<float>() && ef::ScoreTraits<Bias>::sequences_share_gradient);
static_assert(!ef::ScoreTraits<Bias>::heads_share_gradient);

TEST_CASE("a mask chosen at run time hides what the chosen one hides", "[kernels]") {
  CHECK(check_all_tiles<float>(Mask(ef::Unmasked{}), sequence(9, 7, 0), [](Index, Index) { return true; }) == 0);
  CHECK(check_all_tiles<float>(Mask(ef::Causal{}), sequence(9, 7, 0), [](Index i, Index j) { return j <= i; }) == 0);
  const ef::Matrix<bool> matrix = ef::Matrix<bool>::NullaryExpr(9, 7, [](Index i, Index j) { return (i + j) % 3 > 0; });
  check_all_tiles<float>(Mask(ef::DenseMask(matrix)), sequence(9, 7, 0),
                         [&](Index i, Index j) { return matrix(i, j); });
  ef::ScoreTile batch;
  batch.query_end = 10;
  batch.key_end = 7;
  CHECK_NOTHROW(Mask(ef::Causal{}).check_covers(batch));
  CHECK(message_of([&] { Mask(ef::DenseMask(matrix)).check_covers(batch); }) ==
        "attention: the dense mask is [9 x 7], expected at least [10 x 7]");
}

TEST_CASE("a bias chosen at run time adds, and gathers, what the chosen one does", "[kernels]") {
  const std::uint64_t seed = 6;
  CAPTURE(seed);
  ef::Rng rng(seed);
  const auto weights = random_matrix<float>(32, 4, rng);
  ef::Matrix<float> d_chosen = ef::Matrix<float>::Zero(32, 4), d_own = d_chosen;
  const auto gradient = [](ef::Matrix<float>& d) { return ef::TensorView<float>(d.data(), {32, 4}); };
  const ef::RelativeBias<float> own(ef::strided_view(weights), {}, gradient(d_own));
  ef::ScoreTile tile = sequence(9, 7, 0);
  tile.query_end = 9;
  tile.key_end = 7;
  const ByKeys<float> scores = random_matrix<float>(9, 7, rng);
  const auto applied = [&](const auto& score) {
    ByKeys<float> result = scores;
    score.apply(tile, block_of(result));
    return result;
  };
  const Bias chosen(ef::RelativeBias<float>(ef::strided_view(weights), {}, gradient(d_chosen)));
  CHECK(applied(chosen) == applied(own));
  CHECK(applied(Bias(ef::Alibi(4))) == applied(ef::Alibi(4)));
  ByKeys<float> d = scores;
  own.apply_backward(tile, block_of(d));
  chosen.apply_backward(tile, block_of(d));
  CHECK(!d_own.isZero());
  CHECK(d_chosen == d_own);
  Bias(ef::Alibi(4)).apply_backward(tile, block_of(d));
  CHECK(d == scores);
}

TEST_CASE("a score chosen at run time keeps for its derivative what the chosen one keeps", "[kernels]") {
  const auto squared = ef::score([](auto s, const ef::ScorePosition&) { return s * s; });
  using Chosen = ef::ScoreVariant<ef::Alibi, std::remove_const_t<decltype(squared)>>;
  static_assert(Chosen::saved_blocks == 1 && ef::ScoreTraits<Chosen>::has_derivative<float>());
  ef::Rng rng(7);
  ef::ScoreTile tile = sequence(9, 7, 0);
  tile.query_end = 9;
  tile.key_end = 7;
  const ByKeys<float> plain = random_matrix<float>(9, 7, rng);
  const auto check_does_the_same = [&](const Chosen& chosen, const auto& own, bool differs) {
    ByKeys<float> expected = plain, scores = plain, saved(9, 7), d = plain;
    own.apply(tile, block_of(expected));
    chosen.apply(tile, block_of(scores), block_of(saved));
    CHECK(scores == expected);
    chosen.apply_backward(tile, block_of(saved), block_of(d));
    if (differs) CHECK(d == ByKeys<float>(plain.array() * (2 * plain.array())));
    if (!differs) CHECK(d == plain);
  };
  check_does_the_same(Chosen(squared), squared, true);
  check_does_the_same(Chosen(ef::Alibi(4)), ef::Alibi(4), false);
}
