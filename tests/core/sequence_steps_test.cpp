#include "eigenformer/core/sequence_steps.hpp"

#include <utility>

#include "support/catch.hpp"

namespace ef = eigenformer;
using ef::Index;

namespace {

const ef::RowOffsets four_sequences{0, 2, 2, 5, 7};  // lengths 2, 0, 3, 2

using StepRows = std::vector<std::vector<Index>>;

}  // namespace

TEST_CASE("sequences by length: the longest first, those of one length in their order", "[core]") {
  CHECK(ef::sequences_by_length(four_sequences) == std::vector<Index>{2, 0, 3, 1});
  CHECK(ef::sequences_by_length(ef::RowOffsets{0}).empty());
}

TEST_CASE("each step has a row of every sequence that has not ended", "[core]") {
  const std::vector<Index> order = ef::sequences_by_length(four_sequences);
  const auto steps_of = [](const ef::SequenceSteps& sequences, bool backward) {
    StepRows steps;
    const auto body = [&](Index t, Index active) {
      steps.push_back({t});
      for (Index i = 0; i < active; ++i) steps.back().push_back(sequences.row(i, t));
    };
    if (backward)
      sequences.for_each_step_backward(body);
    else
      sequences.for_each_step(body);
    return steps;
  };
  CHECK(steps_of({four_sequences, order}, false) == StepRows{{0, 2, 0, 5}, {1, 3, 1, 6}, {2, 4}});
  CHECK(steps_of({four_sequences, order}, true) == StepRows{{2, 4}, {1, 3, 1, 6}, {0, 2, 0, 5}});
  CHECK(steps_of({four_sequences, order, true}, false) == StepRows{{0, 4, 1, 6}, {1, 3, 0, 5}, {2, 2}});
  CHECK(steps_of({four_sequences, std::span(order).subspan(2)}, false) == StepRows{{0, 5}, {1, 6}});
  CHECK(steps_of({four_sequences, {}}, false).empty());
  CHECK(steps_of({four_sequences, {}}, true).empty());
}

TEST_CASE("the steps know their sequences", "[core]") {
  const std::vector<Index> order = ef::sequences_by_length(four_sequences);
  const ef::SequenceSteps sequences(four_sequences, order);
  CHECK(sequences.size() == 4);
  CHECK(sequences.steps() == 3);
  CHECK(sequences.sequence(2) == 3);
  CHECK(sequences.length(2) == 2);
}
