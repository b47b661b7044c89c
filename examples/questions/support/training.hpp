// Training on tasks that are drawn as they are needed, by the library's own loop.
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

/// A row of the input that nothing is to be said about.
inline constexpr Token no_label = -100;

/// Sequences and what is to be said at each of their rows.
struct LabelledBatch {
  ef::Tokens input;
  std::vector<Token> labels;  // as many as input's rows

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
  double rate = 3e-3;  // its highest, after `warmup` updates; it falls with the square root of their number
  Index warmup = 50;
};

/// Trains with Adam and gives each update's loss, the mean over its labels.
///
///   next_batch: () -> a batch that has labels_of
///   logits: (const Context<float>&, const Batch&) -> Variable<float>, a row for each label
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

template <class Model, class NextBatch, class Logits>
std::vector<double> fit(Model& model, const Plan& plan, NextBatch&& next_batch, Logits&& logits) {
  return fit(model, plan, std::forward<NextBatch>(next_batch), std::forward<Logits>(logits), [](Index) {});
}

/// The share of the labels that have the largest logit of their row.
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
