// What tests of single scores have in common: a tile's scores in memory, and a mask held against its definition on
// every tile.
#pragma once

#include <functional>
#include <limits>

#include "eigenformer/kernels/scores/score.hpp"
#include "support/catch.hpp"

namespace eigenformer::testing {

/// Scores [queries x keys], a key's queries together.
template <class Scalar>
using ByKeys = Eigen::Matrix<Scalar, Eigen::Dynamic, Eigen::Dynamic, Eigen::ColMajor>;
template <class Scalar>
ScoreBlock<Scalar> block_of(ByKeys<Scalar>& scores) {
  return {scores.data(), scores.rows(), scores.cols(), Eigen::OuterStride<>(scores.rows())};
}

/// Whether query i may see key j, both counted within their sequence.
using MaySee = std::function<bool(Index i, Index j)>;

inline ScoreTile sequence(Index queries, Index keys, Index first_row) {
  ScoreTile tile;
  tile.head = 3;
  tile.sequence = 2;
  tile.first_row = first_row;
  tile.queries = queries;
  tile.keys = keys;
  return tile;
}

/// `apply` must hide what may not be seen, leave the rest as it is and never make a hidden score visible again;
/// `visible` may not contradict it. On the way, counts the tiles for which it could only say "some".
template <class Scalar, class S>
int check_tile(const S& score, const ScoreTile& tile, const MaySee& may_see) {
  const Index n = tile.query_end - tile.query_begin;
  const Index m = tile.key_end - tile.key_begin;
  ByKeys<Scalar> scores(n, m);
  for (Index i = 0; i < n; ++i)
    for (Index j = 0; j < m; ++j) scores(i, j) = static_cast<Scalar>(10 * i - j);
  scores(0, 0) = hidden_score<Scalar>;
  scores(n - 1, m - 1) = std::numeric_limits<Scalar>::quiet_NaN();
  const ByKeys<Scalar> before = scores;
  score.apply(tile, block_of(scores));
  Index seen = 0, wrong = 0;
  for (Index i = 0; i < n; ++i)
    for (Index j = 0; j < m; ++j) {
      const bool may = may_see(tile.query_begin + i, tile.key_begin + j);
      seen += may;
      const Scalar expected = may ? before(i, j) : hidden_score<Scalar>;
      wrong += !(scores(i, j) == expected || (scores(i, j) != scores(i, j) && expected != expected));
    }
  CHECK(wrong == 0);
  const Visible visible = score.visible(tile);
  if (visible == Visible::none) CHECK(seen == 0);
  if (visible == Visible::all) CHECK(seen == n * m);
  return visible == Visible::some && (seen == 0 || seen == n * m);
}

/// Every tile of a sequence, of every size. Returns for how many `visible` promised less than it could have.
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

}  // namespace eigenformer::testing
