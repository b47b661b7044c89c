// Trains models on randomly drawn tasks with the library's training loop.
#pragma once

#include <utility>
#include <vector>

#include "eigenformer/ops/cross_entropy.hpp"
#include "eigenformer/text/tokens.hpp"
#include "eigenformer/train/trainer.hpp"

namespace questions {

namespace ef = eigenformer;
using ef::Index;
using ef::Token;

/// The label of a row that the loss and the accuracy ignore.
inline constexpr Token no_label = -100;

/// Sequences and one label per row.
struct LabelledBatch {
  ef::Tokens input;
  std::vector<Token> labels;  // one per row of input

  void add(const std::vector<Token>& sequence, const std::vector<Token>& said) {
    std::vector<Index> lengths;
    for (Index s = 0; input.rows.given() && s < input.rows.sequences(); ++s) lengths.push_back(input.rows.length(s));
    lengths.push_back(static_cast<Index>(sequence.size()));
    input.rows = ef::RowOffsets::from_lengths(lengths);
    input.ids.insert(input.ids.end(), sequence.begin(), sequence.end());
    labels.insert(labels.end(), said.begin(), said.end());
  }
};

inline const std::vector<Token>& labels_of(const LabelledBatch& batch) {
  return batch.labels;
}
inline const std::vector<Token>& labels_of(const ef::TranslationBatch& batch) {
  return batch.next;
}

struct Plan {
  Index updates = 300;
  double rate = 3e-3;  // the peak, reached after `warmup` updates; then falls with the inverse square root
  Index warmup = 50;
};

/// Trains with Adam and returns the loss of each update, the mean over its labels.
///
///   next_batch: () -> Batch, for which labels_of is defined
///   logits: (const Context<float>&, const Batch&) -> Variable<float>, [labels x classes]
///   after: (Index update) -> void, after each update
template <class Model, class NextBatch, class Logits, class After>
std::vector<double> fit(Model& model, const Plan& plan, NextBatch&& next_batch, Logits&& logits, After&& after) {
  std::vector<double> losses;
  ef::Adam<float> adam;
  ef::train(
      model, adam, next_batch,
      [&](const ef::Context<float>& context, const auto& batch) {
        const std::vector<Token>& labels = labels_of(batch);
        const auto ignored = std::count(labels.begin(), labels.end(), no_label);
        const ef::CrossEntropyOptions options{.ignore_index = no_label, .reduction = ef::Reduction::sum};
        return ef::BatchLoss<float>{ef::cross_entropy(context, logits(context, batch), labels, options),
                                    static_cast<Index>(labels.size()) - static_cast<Index>(ignored)};
      },
      [&](const ef::TrainingProgress& progress) {
        losses.push_back(progress.loss);
        after(progress.update);
        return true;
      },
      {.max_updates = plan.updates, .schedule = ef::InverseSquareRoot{plan.rate, plan.warmup}});
  return losses;
}

/// Trains with Adam, without a callback, and returns the loss of each update, the mean over its labels.
///   next_batch: () -> Batch, for which labels_of is defined
///   logits: (const Context<float>&, const Batch&) -> Variable<float>, [labels x classes]
template <class Model, class NextBatch, class Logits>
std::vector<double> fit(Model& model, const Plan& plan, NextBatch&& next_batch, Logits&& logits) {
  return fit(model, plan, std::forward<NextBatch>(next_batch), std::forward<Logits>(logits), [](Index) {});
}

/// Returns the share of labels with the largest logit of their row. Rows with no_label do not count.
inline double accuracy(const ef::ConstMatrixRef<float>& logits, const std::vector<Token>& labels) {
  Index right = 0, counted = 0;
  for (std::size_t i = 0; i < labels.size(); ++i) {
    if (labels[i] == no_label) continue;
    Index best = 0;
    logits.row(static_cast<Index>(i)).maxCoeff(&best);
    right += best == labels[i] ? 1 : 0;
    ++counted;
  }
  return static_cast<double>(right) / static_cast<double>(std::max<Index>(counted, 1));
}

}  // namespace questions
