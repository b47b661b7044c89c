#include "eigenformer/layers/embedding.hpp"

#include "support/ops.hpp"

namespace ef = eigenformer;

TEST_CASE("an embedding looks tokens up, and as a tied output layer scores them all", "[layers]") {
  const std::uint64_t seed = 22;
  CAPTURE(seed);
  ef::Rng rng(seed);
  ef::Embedding<double> embedding(7, 4, rng);
  const std::vector<ef::Token> tokens{6, 0, 6};
  const ef::Matrix<double> x = embedding({}, tokens).value();
  CHECK(x.row(0) == embedding.weight.value.row(6));
  CHECK(x.row(1) == embedding.weight.value.row(0));
  CHECK(embedding.logits({}, x).value().isApprox(x * embedding.weight.value.transpose(), 1e-14));
  ef::testing::check_parameters(
      embedding, [&](const ef::Context<double>& c) { return embedding.logits(c, embedding(c, tokens)); });
  CHECK_THROWS_AS(embedding({}, std::vector<ef::Token>{7}), ef::Error);
  CHECK_THROWS_AS(embedding({}, std::vector<ef::Token>{-1}), ef::Error);
}
