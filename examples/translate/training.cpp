#include "translate/training.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <exception>
#include <limits>

#include "eigenformer/core/standard_streams.hpp"
#include "eigenformer/models/training_flops.hpp"
#include "eigenformer/text/token_batches.hpp"
#include "eigenformer/train/trainer.hpp"

namespace translate {

namespace {

/// Returns the number of tokens of each sentence, including one begin or end token.
std::vector<ef::Index> lengths_of(const ef::Tokens& sentences) {
  std::vector<ef::Index> lengths;
  lengths.reserve(static_cast<std::size_t>(sentences.sequences()));
  for (ef::Index i = 0; i < sentences.sequences(); ++i) lengths.push_back(sentences.rows.length(i) + 1);
  return lengths;
}

/// Returns the number of updates that the budget allows, or 0 if only time limits it. Estimates the batches of an epoch
/// by their usual number. An update may have batches of two epochs.
ef::Index updates_in(const TrainingSettings& settings, const ef::StreamedBatches& batches) {
  const Budget& budget = settings.budget;
  const ef::Index of_epochs =
      budget.epochs == 0 ? 0 : (budget.epochs * batches.batches_per_epoch() - 1) / settings.accumulate + 1;
  if (budget.updates == 0 || of_epochs == 0) return std::max(budget.updates, of_epochs);
  return std::min(budget.updates, of_epochs);
}

/// Returns the warm-up of a schedule that falls over the last `decay` of the updates. Throws if the updates have no
/// room for it.
ef::Index warmup_before(const TrainingSettings& settings, ef::Index updates, ef::Index decay) {
  const ef::Index most = updates - decay;
  ef::check(most > 0, "--schedule ", settings.schedule, ": --updates or --epochs give ", updates,
            " update, expected 2 or more, because the rate of the last is 0");
  if (settings.warmup <= most) return settings.warmup;
  ef::check(settings.shortens_warmup, "--warmup: is ", settings.warmup, ", expected at most ", most,
            ", because --updates or --epochs give ", updates, " updates, and --schedule ", settings.schedule,
            decay == 1 ? " ends at rate 0" : " falls over the last " + std::to_string(decay));
  return std::max<ef::Index>(1, updates / 10);
}

/// Returns the learning rate as a function of the update. The inverse square root is multiplied by a factor that falls
/// from 1 to 0.05 over the last third of the updates, so that the weights settle. Without a known number of updates, it
/// has no such factor, and other schedules throw. They also throw if their warm-up does not fit.
std::function<double(ef::Index)> schedule_of(const TrainingSettings& settings, ef::Index updates) {
  const double rate = settings.rate;
  if (settings.schedule != "inverse_square_root") {
    ef::check(updates > 0, "--schedule ", settings.schedule, ": needs --updates or --epochs, which say where it ends");
    const bool is_stable = settings.schedule == "warmup_stable_decay";
    ef::check(is_stable || settings.schedule == "cosine" || settings.schedule == "linear", "--schedule: is ",
              settings.schedule, ", expected inverse_square_root, cosine, linear or warmup_stable_decay");
    const ef::Index decay = is_stable ? std::max<ef::Index>(1, updates / 5) : 1;
    const ef::Index warmup = warmup_before(settings, updates, decay);
    if (settings.schedule == "cosine") return ef::CosineSchedule{rate, warmup, updates};
    if (settings.schedule == "linear") return ef::LinearSchedule{rate, warmup, updates};
    return ef::WarmupStableDecay{rate, warmup, updates, decay};
  }
  return [inverse_root = ef::InverseSquareRoot{rate, settings.warmup}, updates](ef::Index update) {
    if (updates == 0) return inverse_root(update);
    const double left = std::max(0.0, 1 - static_cast<double>(update) / static_cast<double>(updates));
    return inverse_root(update) * std::min(1.0, 0.05 + 0.95 * 3 * left);
  };
}

/// Formats a time as "3:07".
std::string minutes_and_seconds(double seconds) {
  const auto whole = static_cast<long>(seconds);
  char text[32];
  std::snprintf(text, sizeof(text), "%ld:%02ld", whole / 60, whole % 60);
  return text;
}

/// Prints progress lines, and decides when to validate, save and stop.
class Progress {
 public:
  Progress(const TrainingSettings& settings, const ef::StreamedBatches& batches, double seconds_before)
      : settings_(settings),
        batches_(batches),
        updates_(updates_in(settings, batches)),
        seconds_before_(seconds_before),
        validations_by_time_(share_of_time(seconds_before)) {}

  ef::Index updates() const { return updates_; }

  /// Records an update.
  void add(const ef::TrainingProgress& progress) {
    progress_ = progress;
    progress_.seconds += seconds_before_;
    const double validation_due = updates_ > 0 ? share_of_updates(progress.update) : share_of_time(progress_.seconds);
    const double done_before = updates_ > 0 ? share_of_updates(progress.update - 1) : validations_by_time_;
    validates_ = settings_.validate_every > 0 ? progress.update % settings_.validate_every == 0
                                              : std::floor(validation_due * settings_.validations) >
                                                    std::floor(done_before * settings_.validations);
    validations_by_time_ = validation_due;
    is_last_ = !limit_reached(progress.update, progress_.seconds).empty() || interrupted != 0;
    line_loss_ += progress.loss * static_cast<double>(progress.items);
    line_items_ += progress.items;
    ++exchange_updates_;
  }
  /// Counts the operations of a batch of the next update.
  void add_flops(double flops) { line_flops_ += flops; }
  /// Returns the last update added. Its `seconds` include those before the run was resumed.
  const ef::TrainingProgress& current() const { return progress_; }
  double seconds() const { return progress_.seconds; }
  bool validates() const { return validates_; }
  bool saves() const {
    return is_last_ || (settings_.checkpoint_every > 0 && progress_.update % settings_.checkpoint_every == 0);
  }
  bool is_last() const { return is_last_; }
  /// Returns the limit that is used up, such as "--updates is 400"; empty if none is. Epochs count as done when their
  /// last batch is.
  std::string limit_reached(ef::Index update, double seconds) const {
    const Budget& budget = settings_.budget;
    if (budget.updates > 0 && update >= budget.updates) return "--updates is " + std::to_string(budget.updates);
    if (budget.epochs > 0 && batches_.epochs_done() >= static_cast<double>(budget.epochs))
      return "--epochs is " + std::to_string(budget.epochs);
    if (budget.minutes == 0 || seconds < 60 * budget.minutes) return {};
    char minutes[32];
    std::snprintf(minutes, sizeof(minutes), "%g", budget.minutes);
    return "--minutes is " + std::string(minutes);
  }

  /// Prints what the exchange between ranks cost rank 0.
  void print_exchange() const {
    if (settings_.ranks == nullptr || exchange_updates_ == 0) return;
    const double seconds = std::max(trained_seconds_, 1e-9);
    std::printf(
        "%lld ranks: rank 0 spent %.1f %% of %.1f seconds on the exchange of gradients, and sent %.3f MB per "
        "update; %.0f tokens/s\n",
        static_cast<long long>(settings_.ranks->size()), 100 * progress_.exchange_seconds / seconds, seconds,
        1e-6 * static_cast<double>(progress_.exchange_bytes) / static_cast<double>(exchange_updates_),
        static_cast<double>(progress_.total_items) / seconds);
  }

  /// Prints a line every five seconds. validation_seconds: the time spent on validations since this
  /// process began to train.
  void print(double validation_seconds) {
    const double seconds = trained_seconds_ = progress_.seconds - seconds_before_ - validation_seconds;
    if (seconds - line_seconds_ < 5 && !is_last_) return;
    const double share = std::max(share_of_updates(progress_.update), share_of_time(progress_.seconds));
    const double line_seconds = std::max(seconds - line_seconds_, 1e-9);
    std::printf("update %5lld  epoch %5.1f  loss %.3f  %6.0f tokens/s  ", static_cast<long long>(progress_.update),
                batches_.epochs_done(), line_loss_ / static_cast<double>(line_items_),
                static_cast<double>(line_items_) / line_seconds);
    if (settings_.peak_flops > 0) std::printf("MFU %.0f %%  ", 100 * line_flops_ / line_seconds / settings_.peak_flops);
    if (share > 0) std::printf("%s left", minutes_and_seconds(progress_.seconds * (1 - share) / share).c_str());
    std::printf("\n");
    ef::flush_standard_output();
    line_seconds_ = seconds;
    line_loss_ = 0;
    line_items_ = 0;
    line_flops_ = 0;
  }

 private:
  /// Returns the share of the updates that are done, from 0 to 1.
  double share_of_updates(ef::Index update) const {
    return updates_ == 0 ? 0 : std::min(1.0, static_cast<double>(update) / static_cast<double>(updates_));
  }
  double share_of_time(double seconds) const {
    return settings_.budget.minutes == 0 ? 0 : std::min(1.0, seconds / (60 * settings_.budget.minutes));
  }

  const TrainingSettings& settings_;
  const ef::StreamedBatches& batches_;
  ef::Index updates_;           // in the budget; 0: unknown
  double seconds_before_;       // before the run was resumed
  double trained_seconds_ = 0;  // since then, up to the last update, without validations
  ef::TrainingProgress progress_;
  bool validates_ = false, is_last_ = false;
  double validations_by_time_;
  double line_seconds_ = 0, line_loss_ = 0, line_flops_ = 0;
  ef::Index line_items_ = 0;
  ef::Index exchange_updates_ = 0;  // of this process
};

}  // namespace

void PairEncoder::sample(const ef::SubwordSampling& sampling, ef::Index limit, ef::RandomKey key) {
  sampling_ = Sampling{sampling, limit, key};
}

std::vector<ef::Token> PairEncoder::encode(const ef::TranslationSide& side, std::string_view sentence,
                                           ef::Rng* rng) const {
  if (rng == nullptr) return side.encode(sentence);
  std::vector<ef::Token> drawn = side.sample(sentence, sampling_->options, *rng);
  return static_cast<ef::Index>(drawn.size()) <= sampling_->limit ? drawn : side.encode(sentence);
}

bool PairEncoder::add(std::string_view source, std::string_view target, ef::Index line) {
  std::optional<ef::Rng> rng;
  if (sampling_.has_value())
    rng.emplace(ef::RandomKey{sampling_->key.key, sampling_->key.stream + static_cast<std::uint64_t>(line)});
  ef::Rng* const draws = rng.has_value() ? &*rng : nullptr;
  const std::vector<ef::Token> of_source = encode(model_.source, source, draws);
  const std::vector<ef::Token> of_target = encode(model_.target, target, draws);
  if (is_too_long(of_source) || is_too_long(of_target)) {
    ++skipped_;
    return false;
  }
  const auto append = [](const std::vector<ef::Token>& sentence, Side& to) {
    to.ids.insert(to.ids.end(), sentence.begin(), sentence.end());
    to.rows.push_back(static_cast<ef::Index>(to.ids.size()));
  };
  append(of_source, source_);
  append(of_target, target_);
  return true;
}

EncodedPairs PairEncoder::finish() && {
  return {{std::move(source_.ids), ef::RowOffsets(std::move(source_.rows))},
          {std::move(target_.ids), ef::RowOffsets(std::move(target_.rows))},
          std::move(alignments_)};
}

EncodedPairs encode(const Model& model, const ef::ParallelCorpus& corpus, ef::Index max_length,
                    const std::string& where) {
  PairEncoder encoder(model, max_length);
  for (std::size_t i = 0; i < corpus.source.size(); ++i)
    ef::check(encoder.add(corpus.source[i], corpus.target[i], static_cast<ef::Index>(i) + 1), where, ':', i + 1,
              ": a sentence has more than ", max_length, " tokens");
  return std::move(encoder).finish();
}

ef::TrainingOptions update_options(const TrainingSettings& settings, const Model& model,
                                   const ef::StreamedBatches& batches) {
  ef::TrainingOptions options;
  options.accumulate = settings.accumulate;
  options.checkpoint_activations = settings.checkpoint_activations;
  options.schedule = schedule_of(settings, updates_in(settings, batches));
  options.seed = settings.seed;
  options.threads = settings.threads;
  options.precision = settings.precision;
  // Ten times the loss of a uniform guess of the tokens and, with guided alignment, of their links.
  options.max_loss = 10 * (std::log(static_cast<double>(model.target.vocabulary.size())) +
                           settings.guided_alignment_weight * std::log(static_cast<double>(max_length(model))));
  options.batch_name = [&batches] {
    const ef::BatchPosition& last = batches.last_position();
    const std::string buffer = batches.buffers() == 1 ? "" : ", buffer " + std::to_string(last.buffer + 1);
    return "epoch " + std::to_string(last.epoch + 1) + buffer + ", batch " + std::to_string(last.batch + 1);
  };
  return options;
}

Model averaged(const Model& model, const TrainingRun& run, const TrainingSettings& settings) {
  Model copy = model;
  if (run.optimizer.average() != nullptr) {
    ef::ParameterList<float> trained = ef::parameters_without<float>(copy.network, settings.freeze, "--freeze");
    run.optimizer.average()->copy_to(trained);
  }
  return copy;
}

void train_model(Model& model, ef::StreamedBatches& batches, const TrainingSettings& settings, TrainingRun& run) {
  run.state.seed = settings.seed;
  batches.seek(run.state.next);
  Progress progress(settings, batches, run.state.seconds);
  const std::string limit = progress.limit_reached(run.optimizer.updates(), run.state.seconds);
  if (!limit.empty()) {  // before the run was resumed
    std::printf("no updates are left: %s\n", limit.c_str());
    return;
  }
  double validation_seconds = 0;
  const auto validate = [&](const ef::TrainingProgress& update, bool is_scheduled) {
    if (!settings.validate) return true;
    const auto begin = std::chrono::steady_clock::now();
    const bool goes_on = run.optimizer.average() == nullptr
                             ? settings.validate(model, update, is_scheduled)
                             : settings.validate(averaged(model, run, settings), update, is_scheduled);
    validation_seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    return goes_on;
  };
  const auto report = [&](const ef::TrainingProgress& update) {
    progress.add(update);
    run.state.next = batches.position();
    run.state.seconds = progress.seconds();
    std::exception_ptr failure;  // in printing or logging, because the disk is full or the terminal was closed
    try {
      progress.print(validation_seconds);
      if (settings.log) settings.log(progress.current());
    } catch (...) {
      failure = std::current_exception();
    }
    bool goes_on = true;
    try {
      goes_on = !progress.validates() || validate(update, true);
    } catch (...) {
      if (failure == nullptr) throw;
    }
    if (settings.save && (failure != nullptr || progress.saves() || !goes_on))
      settings.save(model, run, failure != nullptr || interrupted != 0);
    if (failure != nullptr) std::rethrow_exception(failure);
    if (!goes_on) return false;
    if (!progress.is_last()) return true;
    if (progress.validates()) return false;
    validate(update, interrupted == 0);  // after saving: a second Ctrl-C ends the program
    if (settings.save) settings.save(model, run, interrupted != 0);
    return false;
  };
  ef::ParameterList<float> trained = ef::parameters_without<float>(model.network, settings.freeze, "--freeze");
  ef::TrainingOptions options = update_options(settings, model, batches);
  options.ranks = settings.ranks;
  options.skip_batch = [&batches] { batches.skip(); };
  std::visit(
      [&](const auto& network) {
        ef::train(
            trained, run.optimizer, [&] { return batches.next(); },
            [&](const ef::Context<float>& context, const ef::TranslationBatch& batch) {
              progress.add_flops(ef::training_flops(network, batch));
              return batch_loss(network, context, batch, settings.label_smoothing, settings.guided_alignment_weight);
            },
            report, options);
      },
      model.network);
  progress.print_exchange();
}

void train_model(Model& model, const EncodedPairs& pairs, const TrainingSettings& settings) {
  ef::StreamedBatches batches(1, [&](ef::Index, ef::Index) { return pairs; },
                              {.max_tokens = settings.batch_tokens, .seed = settings.seed});
  TrainingRun run;
  train_model(model, batches, settings, run);
}

double perplexity(const Model& model, const EncodedPairs& pairs, ef::Threads* threads) {
  double sum = 0;
  ef::Index items = 0;
  ef::Workspace workspace;
  const std::vector<ef::Index> source_lengths = lengths_of(pairs.source), target_lengths = lengths_of(pairs.target);
  const ef::Index longest = std::max(*std::max_element(source_lengths.begin(), source_lengths.end()),
                                     *std::max_element(target_lengths.begin(), target_lengths.end()));
  for (const auto& batch : ef::token_batches(source_lengths, target_lengths, std::max<ef::Index>(2048, longest))) {
    const ef::BatchLoss<float> part = std::visit(
        [&](const auto& network) {
          return batch_loss(network, {.workspace = &workspace, .threads = threads},
                            ef::translation_batch(pairs.source, pairs.target, batch), 0);
        },
        model.network);
    sum += static_cast<double>(part.sum.scalar());
    items += part.items;
  }
  const double largest = (std::numeric_limits<double>::max)();
  const double result = std::exp(sum / static_cast<double>(items));
  return result <= largest ? result : largest;  // JSON has neither infinity nor NaN
}

}  // namespace translate
