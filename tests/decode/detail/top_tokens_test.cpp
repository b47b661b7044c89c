#include "eigenformer/decode/detail/top_tokens.hpp"

#include "eigenformer/core/rng.hpp"
#include "support/catch.hpp"

namespace ef = eigenformer;

TEMPLATE_TEST_CASE("top_tokens finds what sorting finds", "[decode]", float, double) {
  const std::uint64_t seed = 31;
  CAPTURE(seed);
  ef::Rng rng(seed);
  for (const ef::Index size : {0, 1, 2, 7, 15, 16, 17, 33, 100, 257})
    for (const std::size_t wanted : {0U, 1U, 2U, 5U, 16U, 64U, 65U, 90U, 300U})
      for (const ef::Index values : {2, 5, 1000}) {  // few values: many ties
        CAPTURE(size, wanted, values);
        std::vector<TestType> logits(static_cast<std::size_t>(size));
        for (TestType& logit : logits) logit = static_cast<TestType>(rng.randint(values)) - 3;
        for (TestType& logit : logits)
          if (rng.randint(9) == 0) logit = -std::numeric_limits<TestType>::infinity();
        std::vector<ef::Token> expected;
        for (ef::Token token = 0; token < size; ++token)
          if (std::isfinite(logits[static_cast<std::size_t>(token)])) expected.push_back(token);
        std::stable_sort(expected.begin(), expected.end(), [&](ef::Token a, ef::Token b) {
          return logits[static_cast<std::size_t>(a)] > logits[static_cast<std::size_t>(b)];
        });
        if (expected.size() > wanted) expected.resize(wanted);
        std::vector<ef::Token> top(wanted);
        top.resize(static_cast<std::size_t>(ef::detail::top_tokens(logits.data(), size, std::span(top))));
        CHECK(top == expected);
      }
}
