#include "eigenformer/kernels/scores/alibi.hpp"

#include "eigenformer/kernels/scores/score_traits.hpp"
#include "support/catch.hpp"
#include "support/message_of.hpp"

namespace ef = eigenformer;
using namespace ef::testing;

static_assert(ef::Score<ef::Alibi> && ef::ScoreTraits<ef::Alibi>::changes_values);
static_assert(!ef::ScoreTraits<ef::Alibi>::has_derivative<float>());

TEST_CASE("ALiBi's slopes", "[kernels]") {
  CHECK(ef::Alibi(8).slopes() ==
        std::vector<double>{1 / 2., 1 / 4., 1 / 8., 1 / 16., 1 / 32., 1 / 64., 1 / 128., 1 / 256.});
  const std::vector<double> of_six = ef::Alibi(6).slopes();  // those of 4, then of 8 every other
  const std::vector<double> expected{1 / 4., 1 / 16., 1 / 64., 1 / 256., 1 / 2., 1 / 8.};
  CHECK(of_six == expected);
  CHECK(ef::Alibi(std::vector<double>{0.5, 3}).slopes() == std::vector<double>{0.5, 3});
  CHECK(message_of([] { ef::Alibi(0); }) == "Alibi: heads is 0, expected 1 or more");
}
