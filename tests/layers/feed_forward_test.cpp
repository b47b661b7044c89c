#include "eigenformer/layers/feed_forward.hpp"

#include "support/ops.hpp"

namespace ef = eigenformer;

TEST_CASE("the feed-forward network is equation 2 of the paper", "[layers]") {
  const std::uint64_t seed = 24;
  CAPTURE(seed);
  ef::Rng rng(seed);
  ef::FeedForward<double> layer(4, 9, ef::Activation::relu, 0, true, rng);
  layer.linear1.bias.value.setRandom();
  const auto x = ef::testing::random_matrix<double>(3, 4, rng);
  const ef::Matrix<double> hidden =
      ((x * layer.linear1.weight.value.transpose()).rowwise() + layer.linear1.bias.value.row(0)).cwiseMax(0);
  CHECK(layer({}, x).value().isApprox(hidden * layer.linear2.weight.value.transpose(), 1e-13));
  layer.activation = ef::Activation::gelu;
  ef::testing::check_parameters(layer, [&](const ef::Context<double>& c) { return layer(c, x); });
}

TEST_CASE("a feed-forward network without features, or of an impossible dropout rate, is refused", "[layers]") {
  ef::Rng rng(1);
  const auto relu = ef::Activation::relu;
  CHECK_THROWS_WITH(ef::FeedForward<float>(4, 0, relu, 0, true, rng),
                    "FeedForward: width is 4, dim_feedforward is 0, expected 1 or more");
  CHECK_THROWS_WITH(ef::FeedForward<float>(4, 9, relu, 1, true, rng),
                    "FeedForward: dropout_rate is 1, expected 0 or more and less than 1");
}
