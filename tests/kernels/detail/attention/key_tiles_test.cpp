#include "eigenformer/kernels/detail/attention/key_tiles.hpp"

#include <vector>

#include "eigenformer/kernels/scores.hpp"
#include "kernels/kernel_checks.hpp"

namespace ef = eigenformer;
namespace detail = eigenformer::detail;
using ef::Index;
using ef::Matrix;
using namespace ef::testing;

namespace {

struct Range {
  Index begin, end;
  ef::Visible seen;
  friend bool operator==(const Range&, const Range&) = default;
};

// The tiles of `keys` keys of one head that queries 0 to 3 go over, and whether anything is hidden.
template <class S>
std::pair<std::vector<Range>, bool> tiles_of(const S& score, Index keys, const detail::KeyTileSizes& sizes) {
  const Matrix<float> k = Matrix<float>::NullaryExpr(keys, 16, [](Index i, Index) { return static_cast<float>(i); });
  const auto layout = detail::attention_layout({4, 16}, {keys, 16}, {keys, 16}, {});
  const auto rows = detail::head_columns(ef::strided_view(k), 1);
  const detail::AttentionRows<float, float> operands{rows, rows, rows, {}, {}};
  const auto seen_by = [&](const ef::ScoreTile& t, Index heads) { return detail::seen_by_heads(score, t, heads); };
  ef::ScoreTile tile;
  tile.queries = tile.query_end = 4;
  tile.keys = keys;
  std::vector<Range> ranges;
  const auto check_tile = [&](const detail::KeyTile<float>& t) {
    ranges.push_back({t.tile.key_begin, t.tile.key_end, t.seen});
    CHECK(t.size() == t.tile.key_end - t.tile.key_begin);
    for (Index j = 0; j < t.size(); ++j) {
      CHECK(t.keys(j, 15) == static_cast<float>(t.tile.key_begin + j));
      CHECK(t.values(j, 0) == static_cast<float>(t.tile.key_begin + j));
    }
    const detail::KeyTile<float> last = t.part(t.tile.key_end - 1, t.tile.key_end);
    CHECK(last.size() == 1);
    CHECK(last.keys(0, 3) == static_cast<float>(t.tile.key_end - 1));
    CHECK(last.values(0, 3) == static_cast<float>(t.tile.key_end - 1));
  };
  const bool hides = detail::for_each_key_tile(layout, operands, seen_by, tile, sizes, check_tile);
  return {ranges, hides};
}

}  // namespace

TEST_CASE("keys are cut into tiles of one size but the last", "[kernels]") {
  const auto [ranges, hides] = tiles_of(ef::Unmasked{}, 70, {.keys = 32, .partly_hidden = 32});
  using ef::Visible;
  CHECK(ranges == std::vector<Range>{{0, 32, Visible::all}, {32, 64, Visible::all}, {64, 70, Visible::all}});
  CHECK_FALSE(hides);
  CHECK(tiles_of(ef::Unmasked{}, 0, {.keys = 32, .partly_hidden = 32}).first.empty());
}

TEST_CASE("tiles that nobody sees are left out, and those of which a part is seen are shorter", "[kernels]") {
  using ef::Visible;
  // Queries 0 to 3 see keys 0 to 3.
  const auto [whole, hides] = tiles_of(ef::Causal{}, 70, {.keys = 32, .partly_hidden = 32});
  CHECK(whole == std::vector<Range>{{0, 32, Visible::some}});
  CHECK(hides);
  const auto shorter = tiles_of(ef::Causal{}, 70, {.keys = 32, .partly_hidden = 8});
  CHECK(shorter.first == std::vector<Range>{{0, 8, Visible::some}});
  CHECK(shorter.second);
  // A shorter tile that is fully visible hides nothing.
  const auto all = tiles_of(ef::SlidingWindow(20), 40, {.keys = 32, .partly_hidden = 16});
  CHECK(all.first == std::vector<Range>{{0, 16, Visible::all}, {16, 32, Visible::some}});
  CHECK(all.second);
}
