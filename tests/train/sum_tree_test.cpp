#include "eigenformer/train/sum_tree.hpp"

#include <deque>
#include <map>
#include <string>

#include "support/catch.hpp"
#include "support/message_of.hpp"

namespace ef = eigenformer;

namespace {

/// The definition of the tree, written as a formula: "((0+1)+2)".
std::string sum_formula(ef::Index first, ef::Index count) {
  if (count == 1) return std::to_string(first);
  ef::Index half = 1;
  while (2 * half < count) half *= 2;
  return '(' + sum_formula(first, half) + '+' + sum_formula(first + half, count - half) + ')';
}

/// Takes the steps of all ranks, with formulas instead of numbers. Returns what rank 0 has at the end.
std::string formula_by_steps(const ef::LeafDivision& division) {
  std::map<std::pair<ef::Index, ef::Index>, std::deque<std::string>> messages;  // by sender and receiver
  // The highest rank first: messages go to lower ranks.
  std::vector<std::string> stack;
  for (ef::Index rank = division.ranks; rank-- > 0;) {
    stack.clear();
    ef::Index leaf = division.begin(rank);
    for (const ef::SumStep& step : ef::sum_steps(division, rank)) {
      if (step.kind == ef::SumStep::Kind::leaf) {
        stack.push_back(std::to_string(leaf++));
      } else if (step.kind == ef::SumStep::Kind::send) {
        CHECK(step.rank < rank);
        messages[{rank, step.rank}].push_back(stack.back());
        stack.pop_back();
      } else {
        std::string right;
        if (step.kind == ef::SumStep::Kind::add) {
          right = stack.back();
          stack.pop_back();
        } else {
          auto& waiting = messages[{step.rank, rank}];
          REQUIRE(!waiting.empty());
          right = waiting.front();
          waiting.pop_front();
        }
        REQUIRE(!stack.empty());
        stack.back() = '(' + stack.back() + '+' + right + ')';
      }
    }
    CHECK(leaf == division.end(rank));
    CHECK(stack.size() == (rank == 0 ? 1 : 0));
  }
  for (const auto& [ends, waiting] : messages) CHECK(waiting.empty());
  return stack.empty() ? "" : stack.back();
}

}  // namespace

TEST_CASE("a sum is the same tree over its leaves for every number of ranks", "[train]") {
  for (ef::Index leaves = 1; leaves <= 20; ++leaves)
    for (ef::Index ranks = 1; ranks <= 23; ++ranks) {
      CAPTURE(leaves, ranks);
      CHECK(formula_by_steps({leaves, ranks}) == sum_formula(0, leaves));
    }
  CHECK(sum_formula(0, 7) == "(((0+1)+(2+3))+((4+5)+6))");
}

TEST_CASE("leaves are divided evenly among ranks", "[train]") {
  for (ef::Index leaves = 1; leaves <= 20; ++leaves)
    for (ef::Index ranks = 1; ranks <= 23; ++ranks) {
      CAPTURE(leaves, ranks);
      const ef::LeafDivision division{leaves, ranks};
      CHECK(division.begin(0) == 0);
      CHECK(division.end(ranks - 1) == leaves);
      CHECK(division.rank_of(0) == 0);
      for (ef::Index rank = 0; rank < ranks; ++rank) {
        const ef::Index count = division.end(rank) - division.begin(rank);
        CHECK((count == leaves / ranks || count == leaves / ranks + 1));
        for (ef::Index leaf = division.begin(rank); leaf < division.end(rank); ++leaf)
          CHECK(division.rank_of(leaf) == rank);
      }
    }
}

TEST_CASE("ranks with equal powers of two of leaves send one sum each", "[train]") {
  for (const ef::Index each : {1, 2, 4, 8})
    for (ef::Index ranks = 2; ranks <= 9; ++ranks)
      for (ef::Index rank = 1; rank < ranks; ++rank) {
        CAPTURE(each, ranks, rank);
        const std::vector<ef::SumStep> steps = ef::sum_steps({each * ranks, ranks}, rank);
        CHECK(std::count_if(steps.begin(), steps.end(),
                            [](const ef::SumStep& step) { return step.kind == ef::SumStep::Kind::send; }) == 1);
        CHECK(steps.back().kind == ef::SumStep::Kind::send);
      }
}

TEST_CASE("sum_steps refuses missing leaves and wrong ranks", "[train]") {
  CHECK(ef::testing::message_of([] {
          ef::sum_steps({0, 1}, 0);
        }) == "sum_steps: 0 leaves and 1 ranks, expected 1 or more of both");
  CHECK(ef::testing::message_of([] { ef::sum_steps({4, 2}, 2); }) == "sum_steps: the rank is 2, expected 0 to 1");
}
