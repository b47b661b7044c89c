#include "eigenformer/kernels/scores/sliding_window.hpp"

#include "eigenformer/kernels/scores/score_traits.hpp"
#include "kernels/scores/score_checks.hpp"
#include "support/message_of.hpp"

namespace ef = eigenformer;
using ef::Index;
using ef::ScoreTile;
using namespace ef::testing;

static_assert(ef::Score<ef::SlidingWindow> && !ef::ScoreTraits<ef::SlidingWindow>::changes_values);

TEMPLATE_TEST_CASE("a window hides what is not near on every tile", "[kernels]", float, double) {
  for (const Index queries : {1, 3, 6})
    for (const Index keys : {1, 3, 6}) {
      CAPTURE(queries, keys);
      const ScoreTile tile = sequence(queries, keys, 0);
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

TEST_CASE("a window has a size", "[kernels]") {
  CHECK(ef::SlidingWindow(7).size() == 7);
  CHECK(ef::SlidingWindow(7) == ef::SlidingWindow(7));
  CHECK_FALSE(ef::SlidingWindow(7) == ef::SlidingWindow(8));
  CHECK_FALSE(ef::SlidingWindow(7) == ef::SlidingWindow::after_past(7));
  CHECK(message_of([] { ef::SlidingWindow(0); }) == "SlidingWindow: size is 0, expected 1 or more");
}

TEST_CASE("the largest window hides nothing", "[kernels]") {
  ef::ScoreTile tile = sequence(4, 4, 0);
  tile.query_end = tile.key_end = 4;
  CHECK(ef::SlidingWindow((std::numeric_limits<Index>::max)()).visible(tile) == ef::Visible::all);
}
