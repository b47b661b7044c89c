#include "eigenformer/kernels/scores.hpp"

#include "eigenformer/kernels/dense_mask.hpp"
#include "eigenformer/kernels/sliding_window.hpp"

#include <functional>
#include <limits>

#include "support/catch.hpp"
#include "support/message_of.hpp"
#include "support/random.hpp"

namespace ef = eigenformer;
using ef::Index;
using ef::Matrix;
using ef::ScoreTile;
using ef::Visible;

static_assert(ef::Score<ef::Unmasked> && ef::Score<ef::Causal> && ef::Score<ef::DenseMask>);
static_assert(!ef::Score<int>);
static_assert(!ef::detail::changes_values<ef::Unmasked> && !ef::detail::changes_values<ef::Causal> &&
              !ef::detail::changes_values<ef::DenseMask>);

namespace {

template <class Scalar>
using ByKeys = Eigen::Matrix<Scalar, Eigen::Dynamic, Eigen::Dynamic>;
template <class Scalar>
ef::ScoreBlock<Scalar> block_of(ByKeys<Scalar>& scores) {
  return {scores.data(), scores.rows(), scores.cols(), Eigen::OuterStride<>(scores.rows())};
}

// Whether query i may see key j, both counted within their sequence.
using MaySee = std::function<bool(Index i, Index j)>;

ScoreTile sequence(Index queries, Index keys, Index first_row) {
  ScoreTile tile;
  tile.head = 3;
  tile.sequence = 2;
  tile.first_row = first_row;
  tile.queries = queries;
  tile.keys = keys;
  return tile;
}

// `apply` must hide what may not be seen, leave the rest as it is and never make a hidden score visible again;
// `visible` may not contradict it. On the way, counts the tiles for which it could only say "some".
template <class Scalar, class S>
int check_tile(const S& score, const ScoreTile& tile, const MaySee& may_see) {
  const Index n = tile.query_end - tile.query_begin;
  const Index m = tile.key_end - tile.key_begin;
  ByKeys<Scalar> scores(n, m);
  for (Index i = 0; i < n; ++i)
    for (Index j = 0; j < m; ++j) scores(i, j) = static_cast<Scalar>(10 * i - j);
  scores(0, 0) = ef::hidden_score<Scalar>;
  scores(n - 1, m - 1) = std::numeric_limits<Scalar>::quiet_NaN();
  const ByKeys<Scalar> before = scores;
  score.apply(tile, block_of(scores));
  Index seen = 0, wrong = 0;
  for (Index i = 0; i < n; ++i)
    for (Index j = 0; j < m; ++j) {
      const bool may = may_see(tile.query_begin + i, tile.key_begin + j);
      seen += may;
      const Scalar expected = may ? before(i, j) : ef::hidden_score<Scalar>;
      wrong += !(scores(i, j) == expected || (scores(i, j) != scores(i, j) && expected != expected));
    }
  CHECK(wrong == 0);
  const Visible visible = score.visible(tile);
  if (visible == Visible::none) CHECK(seen == 0);
  if (visible == Visible::all) CHECK(seen == n * m);
  return visible == Visible::some && (seen == 0 || seen == n * m);
}

// Every tile of a sequence, of every size. Returns for how many `visible` promised less than it could have.
template <class Scalar, class S>
int check_all_tiles(const S& score, ScoreTile tile, const MaySee& may_see) {
  int undecided = 0;
  for (tile.query_begin = 0; tile.query_begin < tile.queries; ++tile.query_begin)
    for (tile.query_end = tile.query_begin + 1; tile.query_end <= tile.queries; ++tile.query_end)
      for (tile.key_begin = 0; tile.key_begin < tile.keys; ++tile.key_begin)
        for (tile.key_end = tile.key_begin + 1; tile.key_end <= tile.keys; ++tile.key_end) {
          CAPTURE(tile.query_begin, tile.query_end, tile.key_begin, tile.key_end);
          undecided += check_tile<Scalar>(score, tile, may_see);
        }
  return undecided;
}

}  // namespace

TEMPLATE_TEST_CASE("scores hide what they should on every tile", "[kernels]", float, double) {
  for (const Index queries : {1, 3, 6})
    for (const Index keys : {1, 3, 6}) {  // queries > keys too, where after_past leaves the first ones nothing
      CAPTURE(queries, keys);
      const ScoreTile tile = sequence(queries, keys, 0);
      CHECK(check_all_tiles<TestType>(ef::Unmasked{}, tile, [](Index, Index) { return true; }) == 0);
      CHECK(check_all_tiles<TestType>(ef::Causal{}, tile, [](Index i, Index j) { return j <= i; }) == 0);
      CHECK(check_all_tiles<TestType>(ef::Causal::after_past(), tile,
                                      [&](Index i, Index j) { return j <= i + keys - queries; }) == 0);
      for (const Index size : {1, 2, 4}) {
        CAPTURE(size);
        CHECK(check_all_tiles<TestType>(ef::SlidingWindow(size), tile,
                                        [&](Index i, Index j) { return std::abs(i - j) < size; }) == 0);
        CHECK(check_all_tiles<TestType>(ef::SlidingWindow::after_past(size), tile, [&](Index i, Index j) {
                return std::abs(i + keys - queries - j) < size;
              }) == 0);
      }
    }
}

TEMPLATE_TEST_CASE("a dense mask hides where it is false on every tile", "[kernels]", float, double) {
  const auto seed = GENERATE(1U, 2U);
  CAPTURE(seed);
  ef::Rng rng(seed);
  for (const Index first_row : {0, 4})
    for (const Index queries : {1, 5})
      for (const Index keys : {1, 6})
        for (const Index visible_tenths : {0, 5, 9, 10}) {
          CAPTURE(first_row, queries, keys, visible_tenths);
          // Larger than asked for, and its other rows are of no concern.
          Matrix<bool> mask(first_row + queries + 1, keys + 2);
          for (Index i = 0; i < mask.size(); ++i) mask.data()[i] = rng.below(10) < visible_tenths;
          const ef::DenseMask score(mask);
          CHECK(check_all_tiles<TestType>(score, sequence(queries, keys, first_row),
                                          [&](Index i, Index j) { return mask(first_row + i, j); }) == 0);
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

TEST_CASE("a dense mask is kept, and takes any matrix of bool", "[kernels]") {
  ef::Rng rng(3);
  ScoreTile tile = sequence(3, 4, 0);
  tile.query_end = 3;
  tile.key_end = 4;
  ByKeys<float> scores(3, 4);
  for (Index i = 0; i < scores.size(); ++i) scores.data()[i] = static_cast<float>(rng.below(3));
  const auto hidden_by = [&](const ef::DenseMask& score) {
    ByKeys<float> s = scores;
    score.apply(tile, block_of(s));
    return Matrix<bool>((s.array() == ef::hidden_score<float>).matrix());
  };
  const Matrix<bool> expected = (scores.array() == 1).matrix();
  CHECK(hidden_by(ef::DenseMask(scores.array() != 1)) == expected);
  auto mask = std::make_unique<Eigen::Matrix<bool, Eigen::Dynamic, Eigen::Dynamic>>((scores.array() != 1).matrix());
  const ef::DenseMask score(*mask);
  const ef::DenseMask copy = score;
  mask->setConstant(false);
  mask.reset();
  CHECK(hidden_by(score) == expected);
  CHECK(hidden_by(copy) == expected);
  CHECK(copy.rows() == 3);
  CHECK(copy.keys() == 4);
}

TEST_CASE("a dense mask that is too small says so", "[kernels]") {
  const auto message = [&](Index rows, Index keys) {
    ScoreTile batch;
    batch.query_end = 5;
    batch.key_end = 4;
    return ef::testing::message_of(
        [&] { ef::DenseMask(Matrix<bool>::Constant(rows, keys, true)).check_covers(batch); });
  };
  CHECK(message(4, 4) == "attention: the dense mask is [4 x 4], expected at least [5 x 4]");
  CHECK(message(5, 3) == "attention: the dense mask is [5 x 3], expected at least [5 x 4]");
  CHECK(message(5, 4) == "nothing was thrown");
}
