#include "eigenformer/kernels/detail/attention/tile_parts.hpp"

#include "eigenformer/kernels/scores.hpp"
#include "kernels/kernel_checks.hpp"

namespace ef = eigenformer;
namespace simd = eigenformer::simd;
using ef::Index;
using ef::Matrix;
using ef::detail::TilePart;
using namespace ef::testing;

namespace {

constexpr Index max_queries = 64;

template <class Scalar>
using Parts = ef::detail::TileParts<Scalar, max_queries>;

ef::ScoreTile tile_of(Index queries, Index key_begin, Index key_end) {
  ef::ScoreTile tile;
  tile.queries = tile.query_end = queries;
  tile.keys = tile.key_end = key_end;
  tile.key_begin = key_begin;
  return tile;
}

// Marks the entries of all parts, each of which must not have been marked before.
template <class Scalar>
Matrix<int> covered(const Parts<Scalar>& parts, const ef::ScoreTile& tile) {
  Matrix<int> marks = Matrix<int>::Zero(tile.query_end, tile.key_end);
  constexpr Index lanes = simd::lanes<Scalar>;
  for (const TilePart& part : parts) {
    CHECK(part.key == part.tile.key_begin - tile.key_begin);
    CHECK(part.keys == part.tile.key_end - part.tile.key_begin);
    CHECK(part.packet * lanes == part.tile.query_begin);
    CHECK(part.packets * lanes >= part.tile.query_end - part.tile.query_begin);
    CHECK((part.packets - 1) * lanes < part.tile.query_end - part.tile.query_begin);
    marks.block(part.tile.query_begin, part.tile.key_begin, part.tile.query_end - part.tile.query_begin, part.keys)
        .array() += 1;
  }
  CHECK(marks.maxCoeff() <= 1);
  return marks;
}

}  // namespace

TEMPLATE_TEST_CASE("parts of a tile cover what its queries see, once, and say how much of them is seen", "[kernels]",
                   float, double) {
  const std::uint64_t seed = 3;
  CAPTURE(seed);
  ef::Rng rng(seed);
  for (int repeat = 0; repeat < 300; ++repeat) {
    // Each query sees a random stretch of keys, or none, and sometimes all of them everything.
    const Index queries = 1 + rng.randint(max_queries), keys = 96, key_begin = repeat % 5;
    Matrix<bool> may_attend = Matrix<bool>::Constant(queries, keys, repeat % 10 == 1);
    for (Index i = 0; i < queries && repeat % 10 > 1; ++i) {
      const Index begin = rng.randint(keys), length = rng.randint(40);
      may_attend.row(i).segment(begin, std::min(length, keys - begin)).setConstant(true);
    }
    const ef::ScoreTile tile = tile_of(queries, key_begin, keys);
    const Parts<TestType> parts(ef::DenseMask(may_attend), tile);
    CAPTURE(repeat, queries);
    const Matrix<int> marks = covered(parts, tile);
    CHECK((marks.array() == 0 && may_attend.array()).rightCols(keys - key_begin).count() == 0);
    CHECK(parts.empty() == !may_attend.rightCols(keys - key_begin).any());
    for (const TilePart& part : parts) {
      const auto inside = may_attend.block(part.tile.query_begin, part.tile.key_begin,
                                           part.tile.query_end - part.tile.query_begin, part.keys);
      CHECK(inside.any());
      CHECK((part.seen == ef::Visible::all) == inside.all());
    }
  }
}

TEMPLATE_TEST_CASE("parts leave out what a staircase or a band hides", "[kernels]", float, double) {
  const Index group = std::max<Index>(simd::lanes<TestType>, 16);
  const auto fits = [&](const auto& score, const ef::ScoreTile& tile, auto sees) {
    const Matrix<int> marks = covered(Parts<TestType>(score, tile), tile);
    for (Index i = 0; i < tile.query_end; ++i)
      for (Index j = tile.key_begin; j < tile.key_end; ++j) {
        // Not worked on where none of its group of queries sees any of the keys within a step of eight.
        bool near = false;
        for (Index q = i / group * group; q < std::min(tile.query_end, i / group * group + group); ++q)
          for (Index k = std::max(tile.key_begin, j - 7); k < std::min(tile.key_end, j + 8); ++k)
            near = near || sees(q, k);
        if (!near) CHECK(marks(i, j) == 0);
      }
  };
  for (const Index keys : {8, 64, 96}) {
    fits(ef::Causal{}, tile_of(64, 0, keys), [](Index i, Index j) { return j <= i; });
    fits(ef::SlidingWindow(9), tile_of(64, 0, keys), [](Index i, Index j) { return std::abs(i - j) < 9; });
  }
}

TEMPLATE_TEST_CASE("parts of a tile end, also if two masks have no key in common", "[kernels]", float, double) {
  // A combination hides a step of keys only if one of its masks hides all of it.
  const Index queries = 35, keys = GENERATE(96, 97, 99, 102);  // steps from both ends then meet at other keys
  for (const Index padding : {1, 5, 8, 42, 43, 50, 95})
    for (Index window = 1; window <= 40; ++window)
      for (const Index first : {0, 20, 48, 64}) {
        CAPTURE(keys, padding, window, first);
        ef::ScoreTile tile = tile_of(queries, 0, keys);
        tile.queries = first + queries;
        tile.query_begin = first;
        tile.query_end = first + queries;
        const Matrix<bool> sees = Matrix<bool>::NullaryExpr(
            tile.queries, keys, [&](Index i, Index j) { return j < padding && std::abs(i - j) < window; });
        const Matrix<bool> padded =
            Matrix<bool>::NullaryExpr(tile.queries, keys, [&](Index, Index j) { return j < padding; });
        const Parts<TestType> parts(ef::combine(ef::SlidingWindow(window), ef::DenseMask(padded)), tile);
        Matrix<bool> covered = Matrix<bool>::Constant(tile.queries, keys, false);
        for (const TilePart& part : parts)
          covered
              .block(part.tile.query_begin, part.tile.key_begin, part.tile.query_end - part.tile.query_begin, part.keys)
              .setConstant(true);
        CHECK((sees.array() && !covered.array()).bottomRows(queries).count() == 0);
      }
}
