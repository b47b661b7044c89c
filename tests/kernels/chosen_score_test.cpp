#include "eigenformer/kernels/chosen_score.hpp"

#include "eigenformer/kernels/alibi.hpp"
#include "eigenformer/kernels/dense_mask.hpp"
#include "eigenformer/kernels/relative_bias.hpp"
#include "eigenformer/kernels/sliding_window.hpp"
#include "kernels/kernel_checks.hpp"
#include "kernels/score_checks.hpp"
#include "support/message_of.hpp"

namespace ef = eigenformer;
using ef::Index;
using namespace ef::testing;

using Mask = ef::ChosenScore<ef::Unmasked, ef::Causal, ef::DenseMask>;
using Bias = ef::ChosenScore<ef::Alibi, ef::RelativeBias<float>>;

static_assert(ef::Score<Mask> && !ef::detail::changes_values<Mask>);
static_assert(!ef::detail::has_derivative<Mask, float> && !ef::detail::sequences_share_gradient<Mask>());
static_assert(ef::Score<Bias> && ef::detail::changes_values<Bias>);
static_assert(ef::detail::has_derivative<Bias, float> && ef::detail::sequences_share_gradient<Bias>());
static_assert(!ef::detail::heads_share_gradient<Bias>());

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
  const auto gradient = [](ef::Matrix<float>& d) { return ef::TensorView<float, 2>(d.data(), {32, 4}); };
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
  own.apply_backward(tile, block_of(d), block_of(d));
  chosen.apply_backward(tile, block_of(d), block_of(d));
  CHECK(!d_own.isZero());
  CHECK(d_chosen == d_own);
  Bias(ef::Alibi(4)).apply_backward(tile, block_of(d), block_of(d));
  CHECK(d == scores);
}
