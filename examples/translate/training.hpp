// Training a translation model: batches, progress, validation, and the best model kept.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "eigenformer/text/corpus.hpp"
#include "eigenformer/text/tokens.hpp"
#include "translate/program.hpp"

namespace translate {

/// Sentence pairs as the model reads them, without begin and end.
struct EncodedPairs {
  ef::Tokens source;
  ef::Tokens target;

  ef::Index size() const { return source.sequences(); }
  /// The chosen pairs, in that order.
  EncodedPairs choose(std::span<const ef::Index> pairs) const;
};

/// Encodes both sides, and frees each sentence's text when that is done: pass the corpus by std::move to save memory.
/// Throws if a sentence has more than max_length tokens. where: what the message calls the corpus.
EncodedPairs encode(const Model& model, ef::ParallelCorpus corpus, ef::Index max_length, const std::string& where);

/// How long to train: the first of these that is not 0 and is reached.
struct Budget {
  double minutes = 0;
  ef::Index epochs = 0;
  ef::Index updates = 0;
};

struct TrainingSettings {
  Budget budget;
  ef::Index batch_tokens = 2048;
  double rate = 2e-3;
  ef::Index warmup = 400;
  double label_smoothing = 0.1;
  int validations = 20;  // spread over the budget
  std::uint64_t seed = 1;
  ef::Threads* threads = nullptr;
  std::function<void(const Model&)> validate;  // may be empty
};

/// Trains until the budget is used up or Ctrl-C, with a progress line every few seconds on stdout.
void train_model(Model& model, const EncodedPairs& pairs, const TrainingSettings& settings);

/// exp of the mean loss of a target token, without label smoothing.
double perplexity(const Model& model, const EncodedPairs& pairs, ef::Threads* threads);

}  // namespace translate
