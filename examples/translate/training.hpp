// Trains a translation model: batches, schedule, progress lines, and calls to validate.
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "eigenformer/models/guided_loss.hpp"
#include "eigenformer/text/alignment_labels.hpp"
#include "eigenformer/text/corpus.hpp"
#include "eigenformer/text/tokens.hpp"
#include "eigenformer/train/parameter_list.hpp"
#include "eigenformer/train/streamed_batches.hpp"
#include "eigenformer/train/trainer.hpp"
#include "eigenformer/train/training_state.hpp"
#include "translate/program.hpp"
#include "translate/run_optimizer.hpp"

namespace translate {

using ef::EncodedPairs;

/// Encodes sentence pairs one by one. Skips pairs with a sentence of more than max_length tokens, and counts them.
class PairEncoder {
 public:
  /// model: must outlive the encoder.
  PairEncoder(const Model& model, ef::Index max_length) : model_(model), max_length_(max_length) {}

  /// Returns false if the pair was skipped. line: the number of the pair in the corpus, from 1.
  bool add(std::string_view source, std::string_view target, ef::Index line);
  /// Keeps the links of the pair that was added last. Throws if a link leaves the pair. where: names the links' line.
  void link(const ef::WordAlignment& links, const std::string& where) {
    alignments_.add(links, source_.last_length(), target_.last_length(), where);
  }
  /// Makes later calls of add() split sentences at random, in languages with a subword model. A split depends on the
  /// key and on the sentence's line. A split of more than `limit` tokens is replaced by the usual one.
  void sample(const ef::SubwordSampling& sampling, ef::Index limit, ef::RandomKey key);
  /// Returns the number of skipped pairs.
  ef::Index skipped() const { return skipped_; }
  /// Returns all added pairs.
  EncodedPairs finish() &&;

 private:
  struct Side {
    std::vector<ef::Token> ids;
    std::vector<ef::Index> rows{0};
    ef::Index last_length() const { return rows.back() - rows[rows.size() - 2]; }
  };
  struct Sampling {
    ef::SubwordSampling options;
    ef::Index limit = 0;
    ef::RandomKey key;
  };
  std::vector<ef::Token> encode(const ef::TranslationSide& side, std::string_view sentence, ef::Rng* rng) const;
  bool is_too_long(const std::vector<ef::Token>& sentence) const {
    return static_cast<ef::Index>(sentence.size()) > max_length_;
  }

  const Model& model_;
  ef::Index max_length_;
  ef::Index skipped_ = 0;
  Side source_, target_;
  ef::StoredAlignments alignments_;
  std::optional<Sampling> sampling_;
};

/// Encodes a corpus. Throws if a sentence has more than max_length tokens. where: names the corpus in the message.
EncodedPairs encode(const Model& model, const ef::ParallelCorpus& corpus, ef::Index max_length,
                    const std::string& where);

/// Limits of a run. Training ends when the first limit is reached. 0: no such limit.
struct Budget {
  double minutes = 0;
  ef::Index epochs = 0;
  ef::Index updates = 0;
};

/// The state of a run besides the parameters. A checkpoint holds the state and the parameters.
struct TrainingRun {
  RunOptimizer optimizer;
  ef::TrainingState state;
};

struct TrainingSettings {
  Budget budget;
  ef::Index batch_tokens = 2048;
  ef::Index accumulate = 1;  // batches per update, of all ranks together
  bool checkpoint_activations = false;
  std::string schedule = "inverse_square_root";
  double rate = 2e-3;
  ef::Index warmup = 400;
  bool shortens_warmup = true;  // to a tenth of the updates, if it does not fit a schedule that ends; false: throws
  double label_smoothing = 0.1;
  double guided_alignment_weight = 0;  // weight of the alignment loss in batches with links
  int validations = 20;                // spread evenly over the budget, unless validate_every is above 0
  ef::Index validate_every = 0;        // updates between validations
  std::uint64_t seed = 1;
  std::vector<std::string> freeze{};  // patterns of the parameters that are not trained
  ef::Threads* threads = nullptr;
  ef::Ranks* ranks = nullptr;                        // processes that train the model together; null: this one alone
  ef::Precision precision = ef::Precision::float32;  // of the products of updates; validations use float32
  double peak_flops =
      0;  // of this process's threads, for the MFU of its batches in progress lines; 0: they leave it out
  ef::Index checkpoint_every = 0;  // updates; 0: only when training ends
  // Callbacks, which may be empty. validate receives the moving average if there is one, otherwise the model. It
  // returns whether training goes on. Only rank 0 calls them. is_scheduled: false if the run validates here only
  // because it was interrupted.
  std::function<bool(const Model&, const ef::TrainingProgress&, bool is_scheduled)> validate{};
  // Saves a checkpoint. is_interruption: whether a signal or an error ends the run here.
  std::function<void(const Model&, const TrainingRun&, bool is_interruption)> save{};
  // Called after each update. If it throws, a validation that is due still runs, and a checkpoint is saved before the
  // run ends.
  std::function<void(const ef::TrainingProgress&)> log{};
};

/// Returns the options of a run's updates. They depend on the settings and the corpus alone.
ef::TrainingOptions update_options(const TrainingSettings& settings, const Model& model,
                                   const ef::StreamedBatches& batches);

/// Returns the loss of a batch, summed over the target tokens. guided_alignment_weight: the weight of the alignment
/// loss, if the batch has links.
template <class Network>
ef::BatchLoss<float> batch_loss(const Network& network, const ef::Context<float>& context,
                                const ef::TranslationBatch& batch, double label_smoothing,
                                double guided_alignment_weight = 0) {
  return {ef::guided_loss(network, context, batch, guided_alignment_weight,
                          {.label_smoothing = label_smoothing, .reduction = ef::Reduction::sum}),
          static_cast<ef::Index>(batch.next.size())};
}

/// Returns a copy of a model with the moving average in place of its trained parameters. Without a moving average, the
/// copy is unchanged.
Model averaged(const Model& model, const TrainingRun& run, const TrainingSettings& settings);

/// Trains until the budget is used up or the user presses Ctrl-C. Prints a progress line every five seconds. Starts
/// from the state of `run`: a new run, or a checkpoint.
///
/// Time does not influence an update. It depends on the corpus, the settings, the state before it and its number, which
/// determines the learning rate and the dropout. Validations come at fixed updates, unless the budget is in minutes
/// alone. batches: those of the settings.
void train_model(Model& model, ef::StreamedBatches& batches, const TrainingSettings& settings, TrainingRun& run);

/// Trains a new run on pairs in memory, without checkpoints; otherwise as train_model with a TrainingRun.
void train_model(Model& model, const EncodedPairs& pairs, const TrainingSettings& settings);

/// Returns the exponential of the mean loss per target token, without label smoothing; at most the largest double.
double perplexity(const Model& model, const EncodedPairs& pairs, ef::Threads* threads);

}  // namespace translate
