#include "eigenformer/decode/greedy.hpp"

#include "support/catch.hpp"
#include "support/message_of.hpp"

namespace ef = eigenformer;

namespace {

/// A model whose sentences spell out given tokens, and that checks what it is asked.
struct Script {
  std::vector<std::vector<ef::Token>> sentences;
  std::vector<std::vector<ef::Token>> given = {};  // of each hypothesis of the step before
  std::vector<std::size_t> sentence_of = {};
  ef::Index steps = 0;

  ef::Matrix<double> operator()(std::span<const ef::Index> parents, std::span<const ef::Token> tokens) {
    std::vector<std::vector<ef::Token>> next;
    std::vector<std::size_t> next_sentence;
    ef::Matrix<double> logits = ef::Matrix<double>::Zero(static_cast<ef::Index>(parents.size()), 8);
    for (std::size_t i = 0; i < parents.size(); ++i) {
      const auto parent = static_cast<std::size_t>(parents[i]);
      next_sentence.push_back(steps == 0 ? parent : sentence_of[parent]);
      next.push_back(steps == 0 ? std::vector<ef::Token>{} : given[parent]);
      next.back().push_back(tokens[i]);
      const std::vector<ef::Token>& script = sentences[next_sentence.back()];
      const std::size_t said = next.back().size() - 1;
      for (std::size_t s = 0; s < said; ++s) REQUIRE(next.back()[s + 1] == script[s]);
      REQUIRE(next.back().front() == 1);
      logits(static_cast<ef::Index>(i), said < script.size() ? script[said] : 2) = std::log(7.0 * 9);
    }
    given = next;
    sentence_of = next_sentence;
    ++steps;
    return logits;
  }
};

}  // namespace

TEST_CASE("greedy search says what the model finds likeliest, and lets ended sentences go", "[decode]") {
  Script script{{{5, 6, 7}, {}, {3}, {4, 4, 4, 4}}};
  const std::vector<ef::Hypothesis> results = ef::greedy_search(script, 4);
  REQUIRE(results.size() == 4);
  for (std::size_t i = 0; i < 4; ++i) {
    CHECK(results[i].tokens == script.sentences[i]);
    CHECK(results[i].ended);
    // Every token has probability 63 / (63 + 7) = 0.9, the end token too.
    CHECK(std::abs(results[i].log_probability - static_cast<double>(script.sentences[i].size() + 1) * std::log(0.9)) <
          1e-12);
  }
  CHECK(script.steps == 5);
}

TEST_CASE("greedy search stops at its limit", "[decode]") {
  Script script{{{5, 6, 7}}};
  const std::vector<ef::Hypothesis> results = ef::greedy_search(script, 1, {.max_tokens = 2});
  CHECK(results[0].tokens == std::vector<ef::Token>{5, 6});
  CHECK(!results[0].ended);
  CHECK(ef::greedy_search(script, 0).empty());
}

TEST_CASE("each sentence is cut off at its own limit", "[decode]") {
  const std::vector<ef::Token> endless(9, 5);
  Script script{{endless, {3, 4}, endless, {6}, endless}};
  const std::vector<ef::Index> limits{3, 400, 0, 1, 5};
  const std::vector<ef::Hypothesis> results = ef::greedy_search(script, 5, {.max_tokens = 2, .limits = limits});
  CHECK(results[0].tokens == std::vector<ef::Token>(3, 5));
  CHECK(results[1].tokens == std::vector<ef::Token>{3, 4});
  CHECK(results[1].ended);
  CHECK(results[2].tokens.empty());
  CHECK(results[2].log_probability == 0);
  CHECK(results[3].tokens == std::vector<ef::Token>{6});
  CHECK(results[4].tokens == std::vector<ef::Token>(5, 5));
  for (const std::size_t cut_off : {0U, 2U, 3U, 4U}) CHECK(!results[cut_off].ended);
  CHECK(script.steps == 5);

  const std::vector<ef::Index> none, negative{1, -1};
  CHECK(ef::testing::message_of([&] { ef::greedy_search(script, 2, {.limits = none}); }) ==
        "greedy_search: there are 0 limits, expected 2, one per sentence");
  CHECK(ef::testing::message_of([&] { ef::greedy_search(script, 2, {.limits = negative}); }) ==
        "greedy_search: sentence 1 has the limit -1, expected 0 or more");
}

TEST_CASE("logits that are not finite are an error, except minus infinity beside a finite one", "[decode]") {
  constexpr double nan = std::numeric_limits<double>::quiet_NaN(), infinity = std::numeric_limits<double>::infinity();
  const auto decode = [](double first, double others) {
    const auto step = [=](std::span<const ef::Index> parents, std::span<const ef::Token>) {
      ef::Matrix<double> logits = ef::Matrix<double>::Constant(static_cast<ef::Index>(parents.size()), 4, others);
      logits.col(0).setConstant(first);
      return logits;
    };
    return ef::greedy_search(step, 2, {.max_tokens = 3});
  };
  CHECK_THROWS_AS(decode(nan, nan), ef::Error);
  CHECK_THROWS_AS(decode(0, nan), ef::Error);
  CHECK_THROWS_AS(decode(nan, 0), ef::Error);
  CHECK_THROWS_AS(decode(infinity, 0), ef::Error);
  CHECK_THROWS_AS(decode(-infinity, -infinity), ef::Error);
  CHECK(decode(0, -infinity)[0].log_probability == 0);
}
