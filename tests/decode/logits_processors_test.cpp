#include "eigenformer/decode/logits_processors.hpp"

#include "support/catch.hpp"
#include "support/message_of.hpp"

namespace ef = eigenformer;

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
using Tokens = std::vector<ef::Token>;

/// Returns the tokens that a processor forbids, of eight.
template <class Apply>
Tokens forbidden(Apply&& apply) {
  std::vector<double> logits(8, 0.5);
  apply(std::span<double>(logits));
  Tokens tokens;
  for (ef::Token token = 0; token < 8; ++token)
    if (logits[static_cast<std::size_t>(token)] == -infinity) tokens.push_back(token);
  return tokens;
}

}  // namespace

TEST_CASE("the repetition penalty divides positive and multiplies negative logits, once each", "[decode]") {
  std::vector<double> logits{4, -4, 4, 0, -infinity};
  const Tokens tokens{1, 0, 1, 3, 0, 4};
  ef::apply_repetition_penalty<double>(logits, tokens, 2);
  CHECK(logits == std::vector<double>{2, -8, 4, 0, -infinity});
  std::vector<float> extreme{4, -4, 0, -std::numeric_limits<float>::infinity()};
  ef::apply_repetition_penalty<float>(extreme, Tokens{0, 1, 2, 3}, 1e-300);
  CHECK(extreme ==
        std::vector<float>{std::numeric_limits<float>::max(), 0, 0, -std::numeric_limits<float>::infinity()});
}

TEST_CASE("tokens that would repeat an n-gram are forbidden", "[decode]") {
  const Tokens tokens{3, 4, 3, 5, 4, 3};
  const auto of_size = [&](ef::Index size) {
    return forbidden([&](std::span<double> logits) { ef::forbid_repeated_ngrams<double>(logits, tokens, size); });
  };
  CHECK(of_size(1) == Tokens{3, 4, 5});
  CHECK(of_size(2) == Tokens{4, 5});
  CHECK(of_size(3) == Tokens{5});
  CHECK(of_size(4).empty());
  CHECK(of_size(7).empty());
  CHECK(of_size(1000).empty());
  CHECK(ef::testing::message_of([&] { of_size(0); }) == "forbid_repeated_ngrams: the size is 0, expected 1 or more");
}

TEST_CASE("the token that would complete a sequence is forbidden", "[decode]") {
  const Tokens tokens{3, 4, 5};
  const auto with = [&](const Tokens& sequence) {
    return forbidden([&](std::span<double> logits) { ef::suppress_sequence<double>(logits, tokens, sequence); });
  };
  CHECK(with({}).empty());
  CHECK(with({6}) == Tokens{6});
  CHECK(with({5, 5}) == Tokens{5});
  CHECK(with({4, 5, 1}) == Tokens{1});
  CHECK(with({3, 4, 5, 7}) == Tokens{7});
  CHECK(with({4, 1}).empty());
  CHECK(with({3, 3, 4, 5, 7}).empty());
}
