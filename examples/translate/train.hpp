// What `train` and `replay` share: the data of a run, its model, its settings and the state in its checkpoints.
#pragma once

#include <concepts>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <type_traits>
#include <vector>

#include "eigenformer/io/checkpoint.hpp"
#include "eigenformer/train/early_stopping.hpp"
#include "translate/checkpoint_average.hpp"
#include "translate/training.hpp"
#include "translate/training_plot.hpp"

namespace translate {

/// The sentences of a run, and their vocabularies.
struct TrainingData {
  ef::TranslationSide source, target;
  ef::Index pairs = 0;          // of training; without those that are too long, unless they are streamed
  std::uint64_t text_hash = 0;  // of the corpus
  ef::StreamedBatches batches;
  ef::ParallelCorpus validation;
  EncodedPairs encoded_validation;
  std::string validation_name;           // for messages
  std::function<void()> report_skipped;  // prints the skipped pairs again if more were read; all ranks call it together

  /// Returns a hash of the vocabularies and of the corpus. A run continues only if the hash is unchanged.
  std::uint64_t hash() const;
};

/// Returns whether the arguments name validation pairs. If not, part of the corpus is held out.
bool has_validation(const TrainArguments& arguments);

/// Reads the corpus of a run, and its first batches. Prints the tokens and the vocabulary size of each side.
/// threads, ranks: share the work of encoding pairs, also after this call. Either may be null.
TrainingData read_training_data(const TrainArguments& arguments, ef::Threads* threads, ef::Ranks* ranks);

/// Returns a model with the initial weights of a run.
Model make_model(const TrainArguments& arguments, ef::TranslationSide source, ef::TranslationSide target);

/// Throws if the model of --init has other options than `model`, which was begun with its weights. These may differ:
/// dropout, the aligned head, and the longest sentence. With learned positions, another longest sentence is refused
/// before, because it changes a shape.
void check_initial(const TrainArguments& arguments, const Model& model);

/// Returns the settings of a run, without callbacks.
TrainingSettings settings_of(const TrainArguments& arguments, ef::Threads* threads);

/// Returns a run at its beginning, with the optimiser that the arguments choose.
TrainingRun begin_run(const TrainArguments& arguments);

/// The state that a checkpoint holds besides the parameters and the optimiser.
struct RunState {
  ef::TrainingState training;
  Quality best;                        // of the scheduled validations so far, for --patience
  Quality saved;                       // of the model in --out, which may be an average or from a stopped run
  ef::EarlyStopping stopping;          // counts the validations since the best one by --stop-metric
  double lowest_perplexity = 0;        // of the scheduled validations so far; 0: there was none
  TrainArguments arguments;            // what the run was started or last resumed with
  ef::Index arguments_since = 0;       // number of updates before the first one with these arguments
  bool is_interruption = false;        // whether a signal or an error caused the checkpoint
  std::string data;                    // run_hash
  std::string parameters;              // ef::parameter_hash of the network, in hexadecimal digits
  TrainingCurves curves;               // for --plot
  std::vector<KeptModel> best_models;  // for --average-of best
};

/// Returns the folder of a run's checkpoints.
inline std::filesystem::path checkpoints_of(const std::filesystem::path& out) {
  return out / "checkpoints";
}

// The options in JSON; see io/options.hpp.

/// Visits the options of `train` under the names that they have on the command line.
template <class Options>
requires std::same_as<std::remove_const_t<Options>, TrainArguments>
void visit_options(Options& arguments, auto&& visitor) {
  const auto visit = [&](const char* name, auto& option) { visitor(name, option, ef::AddedLater()); };
  visit("pairs", arguments.pairs);
  visit("source", arguments.source);
  visit("target", arguments.target);
  visit("valid-pairs", arguments.valid_pairs);
  visit("valid-source", arguments.valid_source);
  visit("valid-target", arguments.valid_target);
  visit("out", arguments.out);
  visit("model", arguments.model);
  visit("preset", arguments.preset);
  visit("width", arguments.width);
  visit("layers", arguments.layers);
  visit("heads", arguments.heads);
  visit("feed-forward", arguments.feed_forward);
  visit("norm-first", arguments.norm_first);
  visit("positions", arguments.positions);
  visit("context", arguments.context);
  visit("score", arguments.score);
  visit("encoder", arguments.encoder);
  visit("cell", arguments.cell);
  visit("input-feeding", arguments.input_feeding);
  visit("tokens", arguments.tokens);
  visit("source-tokens", arguments.source_tokens);
  visit("target-tokens", arguments.target_tokens);
  visit("subwords", arguments.subwords.size);
  visit("subword-model", arguments.subwords.model);
  visit("source-subwords", arguments.source_subwords.size);
  visit("source-subword-model", arguments.source_subwords.model);
  visit("target-subwords", arguments.target_subwords.size);
  visit("target-subword-model", arguments.target_subwords.model);
  visit("subword-type", arguments.subword_type);
  visit("joint-vocabulary", arguments.joint_vocabulary);
  visit("subword-sampling", arguments.subword_sampling);
  visit("subword-n-best", arguments.subword_n_best);
  visit("bpe-dropout", arguments.bpe_dropout);
  visit("minutes", arguments.minutes);
  visit("epochs", arguments.epochs);
  visit("updates", arguments.updates);
  visit("batch-tokens", arguments.batch_tokens);
  visit("shuffle-buffer", arguments.shuffle_buffer);
  visit("min-count", arguments.min_count);
  visit("max-length", arguments.max_length);
  visit("rate", arguments.rate);
  visit("dropout", arguments.dropout);
  visit("label-smoothing", arguments.label_smoothing);
  visit("seed", arguments.seed);
  visit("checkpoint-every", arguments.checkpoint_every);
  visit("keep", arguments.keep);
  visit("accumulate", arguments.accumulate);
  visit("checkpoint-activations", arguments.checkpoint_activations);
  visit("schedule", arguments.schedule);
  visit("warmup", arguments.warmup);
  visit("optimizer", arguments.optimizer);
  visit("precision", arguments.precision);
  visit("weight-decay", arguments.weight_decay);
  visit("embedding-dropout", arguments.embedding_dropout);
  visit("attention-dropout", arguments.attention_dropout);
  visit("activation-dropout", arguments.activation_dropout);
  visit("freeze", arguments.freeze);
  visit("init", arguments.init);
  visit("ema", arguments.ema);
  visit("average", arguments.average);
  visit("average-of", arguments.average_of);
  visit("validate-every", arguments.validate_every);
  visit("patience", arguments.patience);
  visit("stop-metric", arguments.stop_metric);
  visit("log", arguments.log);
  visit("plot", arguments.plot);
  visit("alignments", arguments.guided_alignment.links);
  visit("guided-alignment-weight", arguments.guided_alignment.weight);
  visit("alignment-layer", arguments.guided_alignment.layer);
  visit("alignment-head", arguments.guided_alignment.head);
}

template <class Options>
requires std::same_as<std::remove_const_t<Options>, RunState>
void visit_options(Options& state, auto&& visitor) {
  visitor("training", state.training);
  visitor("best", state.best);
  visitor("saved", state.saved, ef::AddedLater());
  visitor("stopping", state.stopping);
  visitor("lowest_perplexity", state.lowest_perplexity);
  visitor("arguments", state.arguments);
  visitor("arguments_since", state.arguments_since, ef::AddedLater());
  visitor("is_interruption", state.is_interruption, ef::AddedLater());
  visitor("data", state.data);
  visitor("parameters", state.parameters);
  visitor("curves", state.curves, ef::AddedLater());
  visitor("best_models", state.best_models, ef::AddedLater());
}

}  // namespace translate
