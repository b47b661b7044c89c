#include "eigenformer/kernels/scores/score_traits.hpp"

#include "eigenformer/kernels/scores.hpp"
#include "support/catch.hpp"

namespace ef = eigenformer;

TEST_CASE("a score's traits are what it declares, and defaults for the rest", "[kernels]") {
  using Mask = ef::ScoreTraits<ef::Causal>;
  STATIC_REQUIRE_FALSE(Mask::changes_values);
  STATIC_REQUIRE(Mask::saved_blocks == 0);
  STATIC_REQUIRE_FALSE(Mask::heads_share_gradient);
  STATIC_REQUIRE_FALSE(Mask::sequences_share_gradient);
  STATIC_REQUIRE_FALSE(Mask::reads_rows_of_keys);
  STATIC_REQUIRE_FALSE(Mask::has_derivative<float>());

  using Cap = ef::ScoreTraits<ef::SoftCap>;
  STATIC_REQUIRE(Cap::changes_values);
  STATIC_REQUIRE(Cap::saved_blocks == 1);
  STATIC_REQUIRE(Cap::has_derivative<double>());

  using Bias = ef::ScoreTraits<ef::DenseBias<float>>;
  STATIC_REQUIRE(Bias::heads_share_gradient);
  STATIC_REQUIRE(Bias::reads_rows_of_keys);
  STATIC_REQUIRE(Bias::saved_blocks == 0);
  STATIC_REQUIRE(Bias::has_derivative<float>());
  STATIC_REQUIRE(ef::ScoreTraits<ef::RelativeBias<float>>::sequences_share_gradient);
}
