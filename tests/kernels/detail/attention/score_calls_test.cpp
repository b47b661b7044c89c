#include "eigenformer/kernels/detail/attention/score_calls.hpp"

#include <cmath>

#include "eigenformer/kernels/detail/attention/erased_score.hpp"
#include "eigenformer/kernels/scores/score_function.hpp"
#include "support/catch.hpp"

namespace ef = eigenformer;
namespace detail = eigenformer::detail;

namespace {

// Head 0 sees nothing, head 1 a part, head 2 all, head 3 nothing, and so on.
struct ByHead {
  static constexpr ef::ScoreStage stage = ef::ScoreStage::mask;
  ef::Visible visible(const ef::ScoreTile& tile) const { return static_cast<ef::Visible>(tile.head % 3); }
  template <class Scalar>
  void apply(const ef::ScoreTile&, ef::ScoreBlock<Scalar>) const {}
};

}  // namespace

TEST_CASE("where hidden keys are skipped, a score hides NaN too", "[kernels]") {
  const auto hides_key_1 =
      ef::score([](auto s, const ef::ScorePosition& at) { return s + (at.key == 1 ? ef::hidden_score<float> : 0.0F); });
  const ef::ScoreTile tile{.queries = 2, .keys = 3, .query_end = 2, .key_end = 3};
  const float nan = std::nanf(""), infinity = std::numeric_limits<float>::infinity();
  for (const float s : {0.5F, nan, infinity, -infinity}) {
    CAPTURE(s);
    ef::Matrix<float> given = ef::Matrix<float>::Constant(3, 2, s);
    const ef::ScoreBlock<float> scores(given.data(), 2, 3, Eigen::OuterStride<>(2));
    detail::apply_score(hides_key_1, tile, scores, detail::HiddenKeys::skipped);
    for (ef::Index i = 0; i < 2; ++i) {
      CHECK(scores(i, 1) == -infinity);
      for (const ef::Index key : {0, 2}) {
        if (std::isnan(s))
          CHECK(std::isnan(scores(i, key)));
        else
          CHECK(scores(i, key) == s);
      }
    }
  }
}

TEST_CASE("a score without a size covers every batch", "[kernels]") {
  REQUIRE_NOTHROW(detail::check_covers(ef::Causal{}, ef::ScoreTile{.queries = 1000, .keys = 1000}));
}

TEST_CASE("of several heads it is known who sees most of a tile, and who least", "[kernels]") {
  static_assert(ef::Visible::none < ef::Visible::some && ef::Visible::some < ef::Visible::all);
  for (ef::Index first = 0; first < 3; ++first)
    for (ef::Index heads = 1; heads <= 4; ++heads) {
      CAPTURE(first, heads);
      ef::ScoreTile tile;
      tile.head = first;
      ef::Index most = 0, least = 2;
      for (ef::Index head = first; head < first + heads; ++head) {
        most = std::max(most, head % 3);
        least = std::min(least, head % 3);
      }
      const ByHead score;
      const detail::ErasedScore<float> erased(score, std::false_type{});
      for (const detail::SeenByHeads& seen :
           {detail::seen_by_heads(score, tile, heads), erased.seen_by_heads(tile, heads)}) {
        CHECK(static_cast<ef::Index>(seen.most) == most);
        CHECK(static_cast<ef::Index>(seen.least) == least);
      }
    }
}
