// Trains a translation model: batches, schedule, progress lines, and calls to validate.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <utility>
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
};

/// Encodes sentence pairs one by one.
class PairEncoder {
 public:
  /// where: names the corpus in messages. model: must outlive the encoder.
  PairEncoder(const Model& model, ef::Index max_length, std::string where)
      : model_(model), max_length_(max_length), where_(std::move(where)) {}

  /// Makes room for as many tokens, so that memory is not allocated twice while it grows.
  void reserve(ef::Index source_tokens, ef::Index target_tokens);
  /// Throws if a sentence has more than max_length tokens. line: the number of the pair in the corpus, from 1.
  void add(const std::string& source, const std::string& target, ef::Index line);
  /// Returns all pairs that were added.
  EncodedPairs finish() &&;

 private:
  struct Side {
    std::vector<ef::Token> ids;
    std::vector<ef::Index> rows{0};
  };
  void add(const ef::TranslationSide& side, const std::string& sentence, const char* name, ef::Index line, Side& to);

  const Model& model_;
  ef::Index max_length_;
  std::string where_;
  Side source_, target_;
};

/// Encodes a corpus: see PairEncoder.
EncodedPairs encode(const Model& model, const ef::ParallelCorpus& corpus, ef::Index max_length,
                    const std::string& where);

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
