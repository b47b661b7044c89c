// Trains a translation model: batches, schedule, progress lines, and calls to validate.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "eigenformer/text/corpus.hpp"
#include "eigenformer/text/tokens.hpp"
#include "translate/program.hpp"

namespace translate {

/// Encoded sentence pairs, without begin and end tokens.
struct EncodedPairs {
  ef::Tokens source;
  ef::Tokens target;

  ef::Index size() const { return source.sequences(); }
  /// Returns the chosen pairs, in the order given.
  EncodedPairs choose(std::span<const ef::Index> pairs) const;
};

/// Encodes both sides of a corpus. Frees the text of each sentence as it goes, so std::move the corpus to save memory.
/// Throws if a sentence has more than max_length tokens. where: names the corpus in the error message.
EncodedPairs encode(const Model& model, ef::ParallelCorpus corpus, ef::Index max_length, const std::string& where);

/// When training ends: at the first limit reached. A limit of 0 is not used.
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
  int validations = 20;  // spread evenly over the budget
  std::uint64_t seed = 1;
  ef::Threads* threads = nullptr;
  std::function<void(const Model&)> validate;  // may be empty
};

/// Trains until the budget is used up or the user presses Ctrl-C. Prints a progress line every five seconds. The
/// learning rate depends only on the number of the update and the elapsed time.
void train_model(Model& model, const EncodedPairs& pairs, const TrainingSettings& settings);

/// Returns the exponential of the mean loss per target token, without label smoothing.
double perplexity(const Model& model, const EncodedPairs& pairs, ef::Threads* threads);

}  // namespace translate
