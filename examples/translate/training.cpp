#include "translate/training.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "eigenformer/core/standard_streams.hpp"
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

/// Yields batches, epoch after epoch. Each epoch has a new order.
class Epochs {
 public:
  Epochs(const EncodedPairs& pairs, ef::Index batch_tokens, ef::Rng& rng)
      : pairs_(pairs),
        source_lengths_(lengths_of(pairs.source)),
        target_lengths_(lengths_of(pairs.target)),
        batch_tokens_(batch_tokens),
        rng_(rng) {}

  ef::TranslationBatch next() {
    if (next_ == batches_.size()) {
      batches_ = ef::token_batches(source_lengths_, target_lengths_, batch_tokens_, rng_);
      next_ = 0;
      ++begun_;
    }
    return ef::translation_batch(pairs_.source, pairs_.target, batches_[next_++]);
  }

  /// Returns the usual number of batches in an epoch. An epoch may have a few more or fewer, because its order decides
  /// which sentences of equal length share a batch.
  ef::Index batches_per_epoch() const {
    return static_cast<ef::Index>(ef::token_batches(source_lengths_, target_lengths_, batch_tokens_).size());
  }

  /// Returns the number of epochs done, with the fraction of the current one.
  double done() const {
    return batches_.empty()
               ? 0
               : static_cast<double>(begun_ - 1) + static_cast<double>(next_) / static_cast<double>(batches_.size());
  }

 private:
  const EncodedPairs& pairs_;
  std::vector<ef::Index> source_lengths_, target_lengths_;
  ef::Index batch_tokens_;
  ef::Rng& rng_;
  std::vector<std::vector<ef::Index>> batches_;
  std::size_t next_ = 0;
  ef::Index begun_ = 0;
};

/// Returns the share of the budget that is used, from 0 to 1. An epoch counts as batches_per_epoch updates.
double used(const Budget& budget, const ef::TrainingTime& now, ef::Index batches_per_epoch) {
  double share = 0;
  const auto use = [&](double done, double available) {
    if (available > 0) share = std::max(share, done / available);
  };
  use(now.seconds, 60 * budget.minutes);
  use(static_cast<double>(now.update), static_cast<double>(budget.epochs * batches_per_epoch));
  use(static_cast<double>(now.update), static_cast<double>(budget.updates));
  return std::min(share, 1.0);
}

/// Returns whether training ends after this update. Counts epochs by their actual batches, not by batches_per_epoch.
bool is_over(const Budget& budget, const ef::TrainingProgress& progress, const Epochs& epochs) {
  return (budget.minutes > 0 && progress.seconds >= 60 * budget.minutes) ||
         (budget.epochs > 0 && epochs.done() >= static_cast<double>(budget.epochs)) ||
         (budget.updates > 0 && progress.update >= budget.updates) || interrupted != 0;
}

/// Formats a time as "3:07".
std::string minutes_and_seconds(double seconds) {
  const auto whole = static_cast<long>(seconds);
  char text[32];
  std::snprintf(text, sizeof(text), "%ld:%02ld", whole / 60, whole % 60);
  return text;
}

template <class Network>
ef::BatchLoss<float> loss(const Network& network, const ef::Context<float>& context, const ef::TranslationBatch& batch,
                          double label_smoothing) {
  return {network.loss(context, batch, {.label_smoothing = label_smoothing, .reduction = ef::Reduction::sum}),
          static_cast<ef::Index>(batch.next.size())};
}

}  // namespace

void PairEncoder::reserve(ef::Index source_tokens, ef::Index target_tokens) {
  source_.ids.reserve(static_cast<std::size_t>(source_tokens));
  target_.ids.reserve(static_cast<std::size_t>(target_tokens));
}

void PairEncoder::add(const ef::TranslationSide& side, const std::string& sentence, const char* name, ef::Index line,
                      Side& to) {
  const std::vector<ef::Token> encoded = side.encode(sentence);
  ef::check(static_cast<ef::Index>(encoded.size()) <= max_length_, where_, ':', line, ": the ", name, " has ",
            encoded.size(), " tokens, the limit is ", max_length_, " (--max-length)");
  to.ids.insert(to.ids.end(), encoded.begin(), encoded.end());
  to.rows.push_back(static_cast<ef::Index>(to.ids.size()));
}

void PairEncoder::add(const std::string& source, const std::string& target, ef::Index line) {
  add(model_.source, source, "source", line, source_);
  add(model_.target, target, "target", line, target_);
}

EncodedPairs PairEncoder::finish() && {
  return {{std::move(source_.ids), ef::RowOffsets(std::move(source_.rows))},
          {std::move(target_.ids), ef::RowOffsets(std::move(target_.rows))}};
}

EncodedPairs encode(const Model& model, const ef::ParallelCorpus& corpus, ef::Index max_length,
                    const std::string& where) {
  PairEncoder encoder(model, max_length, where);
  for (std::size_t i = 0; i < corpus.source.size(); ++i)
    encoder.add(corpus.source[i], corpus.target[i], static_cast<ef::Index>(i) + 1);
  return std::move(encoder).finish();
}

void train_model(Model& model, const EncodedPairs& pairs, const TrainingSettings& settings) {
  ef::Rng rng(settings.seed);
  Epochs epochs(pairs, settings.batch_tokens, rng);
  ef::Adam<float> adam;
  const ef::Index batches_per_epoch = epochs.batches_per_epoch();
  int validated = 0;
  double line_seconds = 0, line_loss = 0, validation_seconds = 0;
  ef::Index line_items = 0;

  const auto report = [&](const ef::TrainingProgress& progress) {
    const double share = used(settings.budget, {progress.update, progress.seconds}, batches_per_epoch);
    line_loss += progress.loss * static_cast<double>(progress.items);
    line_items += progress.items;
    const bool last = is_over(settings.budget, progress, epochs);
    const double seconds = progress.seconds - validation_seconds;
    if (seconds - line_seconds >= 5 || last) {
      std::printf("update %5lld  epoch %5.1f  loss %.3f  %6.0f tokens/s  %s left\n",
                  static_cast<long long>(progress.update), epochs.done(), line_loss / static_cast<double>(line_items),
                  static_cast<double>(line_items) / std::max(seconds - line_seconds, 1e-9),
                  minutes_and_seconds(share > 0 ? progress.seconds * (1 - share) / share : 0).c_str());
      ef::flush_standard_output();
      line_seconds = seconds;
      line_loss = 0;
      line_items = 0;
    }
    if (settings.validate && (last || share * settings.validations >= validated + 1)) {
      validated = static_cast<int>(share * settings.validations);
      const auto begin = std::chrono::steady_clock::now();
      settings.validate(model);
      validation_seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    }
    return !last;
  };

  // The inverse square root, times a factor that falls from 1 to 0.05 over the last third of the budget, so that the
  // weights settle.
  const auto schedule = [&](const ef::TrainingTime& now) {
    const double left = 1 - used(settings.budget, now, batches_per_epoch);
    const double rate = ef::InverseSquareRoot{settings.rate, settings.warmup}(now);
    return rate * std::min(1.0, 0.05 + 0.95 * 3 * left);
  };
  std::visit(
      [&](auto& network) {
        ef::train(
            network, adam, [&] { return epochs.next(); },
            [&](const ef::Context<float>& context, const ef::TranslationBatch& batch) {
              return loss(network, context, batch, settings.label_smoothing);
            },
            report, {.schedule = schedule, .rng = &rng, .threads = settings.threads});
      },
      model.network);
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
          return loss(network, {.workspace = &workspace, .threads = threads},
                      ef::translation_batch(pairs.source, pairs.target, batch), 0);
        },
        model.network);
    sum += static_cast<double>(part.sum.scalar());
    items += part.items;
  }
  return std::exp(sum / static_cast<double>(items));
}

}  // namespace translate
