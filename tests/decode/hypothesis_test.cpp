#include "eigenformer/decode/hypothesis.hpp"

#include "support/catch.hpp"

TEST_CASE("a hypothesis begins empty", "[decode]") {
  const eigenformer::Hypothesis hypothesis;
  CHECK(hypothesis.tokens.empty());
  CHECK(hypothesis.log_probability == 0);
  CHECK(!hypothesis.ended);
}
