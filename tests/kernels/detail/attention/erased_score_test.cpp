#include "eigenformer/kernels/detail/attention/erased_score.hpp"

#include "eigenformer/kernels/attention_weights.hpp"
#include "eigenformer/kernels/scores/alibi.hpp"
#include "eigenformer/kernels/scores/dense_bias.hpp"
#include "eigenformer/kernels/scores/relative_bias.hpp"
#include "eigenformer/kernels/scores/score_function.hpp"
#include "eigenformer/kernels/scores/score_traits.hpp"
#include "eigenformer/kernels/scores/sliding_window.hpp"
#include "eigenformer/kernels/scores/soft_cap.hpp"
#include "kernels/kernel_checks.hpp"
#include "support/message_of.hpp"

namespace ef = eigenformer;
namespace detail = eigenformer::detail;
using ef::Index;
using ef::Matrix;
using namespace ef::testing;

namespace {

constexpr bool equal(const detail::ScoreKind& a, const detail::ScoreKind& b) {
  return a.changes_values == b.changes_values && a.reads_rows_of_keys == b.reads_rows_of_keys &&
         a.saved_blocks == b.saved_blocks && a.heads_share_gradient == b.heads_share_gradient &&
         a.sequences_share_gradient == b.sequences_share_gradient;
}
template <class S>
constexpr bool is_of_kind(const detail::ScoreKind& kind) {
  return equal(detail::kind_of<S>, kind);
}
static_assert(is_of_kind<ef::SlidingWindow>({}));
static_assert(is_of_kind<ef::Alibi>({.changes_values = true}));
static_assert(is_of_kind<ef::SoftCap>({.changes_values = true, .saved_blocks = 1}));
static_assert(is_of_kind<ef::RelativeBias<float>>({.changes_values = true, .sequences_share_gradient = true}));
static_assert(is_of_kind<ef::DenseBias<float>>({.changes_values = true,
                                                .reads_rows_of_keys = true,
                                                .heads_share_gradient = true,
                                                .sequences_share_gradient = true}));
// What does not matter to one direction does not make another kernel of it.
static_assert(equal(detail::kind_of_forward<ef::SoftCap>, detail::kind_of_forward<ef::RelativeBias<float>>));
static_assert(equal(detail::kind_of_forward<ef::RelativeBias<float>>, {.changes_values = true}));
static_assert(equal(detail::kind_of_backward<ef::Alibi, float>, {.changes_values = true}));
static_assert(equal(detail::kind_of_backward<ef::SoftCap, float>, {.changes_values = true, .saved_blocks = 2}));
static_assert(equal(detail::kind_of_backward<ef::DenseBias<float>, float>,
                    {.changes_values = true, .saved_blocks = 2}));

ef::ScoreTile tile_of(Index queries, Index keys) {
  ef::ScoreTile tile;
  tile.queries = tile.query_end = queries;
  tile.keys = tile.key_end = keys;
  return tile;
}

// Not to the last bit: the compiler may fuse multiplications and additions differently in the two copies of a function,
// the one that is called directly and the one behind a pointer.
template <class S>
void check_does_the_same(const S& score) {
  constexpr Index queries = 9, keys = 7;
  ef::Rng rng(5);
  const auto known = detail::for_kernel<float, detail::kind_of_backward<S, float>>(score);
  using Known = std::remove_const_t<decltype(known)>;
  static_assert(ef::Score<Known> && is_of_kind<Known>(detail::kind_of_backward<S, float>));
  ef::ScoreTile tile = tile_of(queries, keys);
  for (tile.key_begin = 0; tile.key_begin < keys; ++tile.key_begin) CHECK(known.visible(tile) == score.visible(tile));
  tile.key_begin = 0;

  // A key's queries are contiguous.
  const auto block = [](Matrix<float>& m) {
    return ef::ScoreBlock<float>(m.data(), m.cols(), m.rows(), Eigen::OuterStride<>(m.cols()));
  };
  Matrix<float> plain = random_matrix<float>(keys, queries, rng), expected = plain, given = plain;
  score.apply(tile, block(expected));
  known.apply(tile, block(given));
  CHECK(max_error(given, expected) < rounding<float>(4));
  CHECK_FALSE(identical<float>(given, plain));
  if constexpr (ef::ScoreTraits<S>::template has_derivative<float>()) {
    // Two blocks, of which a score may need fewer.
    const Matrix<float> d = random_matrix<float>(keys, queries, rng);
    Matrix<float> saved_expected = Matrix<float>::Zero(2 * keys, queries), saved_given = saved_expected;
    Matrix<float> d_expected = d, d_given = d;
    const auto first = [&](Matrix<float>& saved) {
      return ef::ScoreBlock<float>(saved.data(), queries, keys, Eigen::OuterStride<>(queries));
    };
    expected = given = plain;
    detail::apply_saving(score, tile, block(expected), first(saved_expected));
    known.apply(tile, block(given), first(saved_given));
    CHECK(max_error(given, expected) < rounding<float>(4));
    CHECK(max_error(saved_given, saved_expected) < rounding<float>(4));
    detail::differentiate(score, tile, first(saved_expected), block(d_expected));
    known.apply_backward(tile, first(saved_given), block(d_given));
    CHECK(max_error(d_given, d_expected) < rounding<float>(4));
    CHECK(identical<float>(d_given, d) == (ef::ScoreTraits<S>::saved_blocks == 0));
  }
}

}  // namespace

TEST_CASE("a score without its type does what it does with it", "[kernels]") {
  check_does_the_same(ef::SlidingWindow(2));
  check_does_the_same(ef::SoftCap(0.5));
  check_does_the_same(
      ef::score([](auto s, const ef::ScorePosition& at) { return s * s + static_cast<float>(at.key); }));
  Matrix<float> weights = Matrix<float>::Random(32, 1), d_weights = Matrix<float>::Zero(32, 1);
  check_does_the_same(
      ef::RelativeBias<float>(ef::strided_view(weights), {}, ef::TensorView<float>(d_weights.data(), {32, 1})));
  CHECK(!d_weights.isZero());
}

TEST_CASE("kernels of their own are those of Unmasked and Causal", "[kernels]") {
  const ef::Causal causal;
  const ef::Unmasked unmasked;
  CHECK(&detail::for_kernel<float, detail::ScoreKind{}>(causal) == &causal);
  CHECK(&detail::for_kernel<float, detail::ScoreKind{}>(unmasked) == &unmasked);
}

TEST_CASE("a score without its type checks its size, and knows which tiles share its gradient", "[kernels]") {
  const Matrix<float> bias = Matrix<float>::Zero(4, 5);
  const ef::DenseBias<float> score(ef::strided_view(bias));
  const detail::ErasedScore<float> anonymous(score, std::false_type{});
  CHECK_FALSE((anonymous.kind.heads_share_gradient || anonymous.kind.sequences_share_gradient));
  ef::Tensor<float> of_keys({1, 4, 1, 5}), d_of_keys({1, 4, 1, 5});
  const ef::DenseBias<float> repeated(of_keys.view(), d_of_keys.view());
  const detail::ErasedScore<float> learned(repeated, std::true_type{});
  CHECK(learned.kind.sequences_share_gradient);
  CHECK_FALSE(learned.kind.heads_share_gradient);
  CHECK_NOTHROW(anonymous.check_covers(tile_of(4, 5)));
  CHECK(message_of([&] { anonymous.check_covers(tile_of(4, 6)); }) ==
        message_of([&] { score.check_covers(tile_of(4, 6)); }));
}

TEST_CASE("a function of floats alone is a score where nobody asks for its derivative", "[kernels]") {
  ef::Rng rng(6);
  const Matrix<float> q = random_matrix<float>(3, 4, rng), k = random_matrix<float>(5, 4, rng);
  const auto halved = ef::score([](float s, const ef::ScorePosition&) { return s / 2; });
  const ef::Tensor<float> weights = ef::attention_weights(q, k, halved);
  const ef::Tensor<float> expected = ef::attention_weights(q, k, ef::Unmasked{}, {.scale = 0.25});
  CHECK(max_error(weights.matrix(0), expected.matrix(0).cast<double>()) < rounding<float>(8));
  CHECK(max_error(ef::attention(q, k, k, halved), (expected.matrix(0) * k).cast<double>()) < rounding<float>(8));
}

TEST_CASE("a score is erased once", "[kernels]") {
  ef::Rng rng(7);
  const ef::Matrix<float> entries = random_matrix<float>(4, 5, rng);
  const ef::DenseBias<float> bias(ef::strided_view(entries).unsqueeze(0).unsqueeze(0));
  using OfMatrix = detail::ScoreOfKind<float, detail::ScoreKind{true, true}>;
  auto first = std::make_unique<OfMatrix>(bias);
  const detail::ScoreOfKind<float, detail::ScoreKind{true}> second(*first);
  first.reset();  // the second refers to the bias, not to the first
  CHECK(second.visible(tile_of(4, 5)) == bias.visible(tile_of(4, 5)));
  detail::ScoreMatrix<float> expected = detail::ScoreMatrix<float>::Ones(4, 5), scores = expected;
  bias.apply(tile_of(4, 5), detail::score_block(expected));
  second.apply(tile_of(4, 5), detail::score_block(scores));
  CHECK(scores == expected);
  CHECK(scores != detail::ScoreMatrix<float>::Ones(4, 5));
}
