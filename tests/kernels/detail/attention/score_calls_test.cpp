#include "eigenformer/kernels/detail/attention/score_calls.hpp"

#include <cmath>

#include "eigenformer/kernels/scores/score_function.hpp"
#include "support/catch.hpp"

namespace ef = eigenformer;
namespace detail = eigenformer::detail;

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
