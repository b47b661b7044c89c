#include "questions/support/sequence_model.hpp"

#include "questions/support/training.hpp"
#include "support/catch.hpp"

namespace ef = eigenformer;
using questions::LabelledBatch;
using questions::no_label;

TEST_CASE("labelled sequences are put one under another", "[examples]") {
  LabelledBatch batch;
  batch.add({1, 2, 3}, {0, no_label, 1});
  batch.add({4}, {2});
  CHECK(batch.input.ids == std::vector<ef::Token>{1, 2, 3, 4});
  CHECK(batch.input.rows == ef::RowOffsets{0, 3, 4});
  CHECK(batch.labels == std::vector<ef::Token>{0, no_label, 1, 2});
}

TEST_CASE("accuracy counts the rows that have a label", "[examples]") {
  ef::Matrix<float> logits(4, 2);
  logits << 1, 0, 0, 1, 0, 1, 1, 0;
  CHECK(questions::accuracy(logits, {0, no_label, 1, 1}) == 2.0 / 3);
  CHECK(questions::accuracy(logits, {no_label, no_label, no_label, no_label}) == 0);
}

TEST_CASE("a sequence model learns to say the token before, the same way each time", "[examples][long]") {
  const auto learn = [] {
    ef::Rng rng(5);
    questions::SequenceModel model({.vocabulary_size = 4, .classes = 4, .layers = 1}, rng);
    const auto next_batch = [&] {
      LabelledBatch batch;
      for (int i = 0; i < 16; ++i) {
        std::vector<ef::Token> sequence(5), labels(5, no_label);
        for (ef::Token& token : sequence) token = static_cast<ef::Token>(rng.randint(4));
        for (std::size_t t = 1; t < 5; ++t) labels[t] = sequence[t - 1];
        batch.add(sequence, labels);
      }
      return batch;
    };
    ef::Index called = 0;
    const std::vector<double> losses = questions::fit(
        model, {.updates = 150}, next_batch,
        [&](const ef::Context<float>& context, const LabelledBatch& batch) {
          return model(context, batch.input, ef::Causal{});
        },
        [&](ef::Index update) { CHECK(update == ++called); });
    CHECK(called == 150);
    const LabelledBatch unseen = next_batch();
    CHECK(questions::accuracy(model({}, unseen.input, ef::Causal{}).value(), unseen.labels) > 0.95);
    CHECK(model.depths({}, unseen.input).size() == 2);
    return losses;
  };
  const std::vector<double> losses = learn();
  CHECK(losses.size() == 150);
  CHECK(losses.front() > 1);
  CHECK(losses.back() < 0.2);
  CHECK(learn() == losses);
}
