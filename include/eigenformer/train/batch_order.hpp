// The order in which training goes over the batches of a corpus.
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "eigenformer/text/token_batches.hpp"
#include "eigenformer/text/tokens.hpp"
#include "eigenformer/train/training_state.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

struct BatchOrderOptions {
  Index max_tokens = 2048;  // of a batch, on either side
  std::uint64_t seed = 1;
};

/// Yields batches of sentence pairs, epoch after epoch. Each epoch has its own random order, which depends only on the
/// pairs, the options and the number of the epoch. To continue a run, save only the position:
///
///   order.seek(state.next);
///   const TranslationBatch batch = translation_batch(sources, targets, order.next());
///   state.next = order.position();
class BatchOrder {
 public:
  /// sources, targets: encoded sentences without special tokens. Lengths include one begin or end token. Throws if the
  /// numbers of sentences differ, if there are no sentences, or if a sentence is longer than max_tokens.
  BatchOrder(const Tokens& sources, const Tokens& targets, const BatchOrderOptions& options = {})
      : source_lengths_(lengths_of(sources)), target_lengths_(lengths_of(targets)), options_(options) {
    check(sources.sequences() >= 1, "BatchOrder: there are no sentences");
    begin_epoch(0);
  }

  /// Returns the sentences of the next batch. The reference is valid until the next call.
  const std::vector<Index>& next() {
    if (is_at_end_of_epoch()) begin_epoch(position_.epoch + 1);
    return batches_[static_cast<std::size_t>(position_.batch++)];
  }

  /// Returns the position of the next batch. After the last batch of an epoch, `batch` is the number of its batches.
  const BatchPosition& position() const { return position_; }

  /// Continues at a position that position() returned. Throws, and stays where it is, if the epoch has fewer batches or
  /// the position has a buffer other than 0, which only those of StreamedBatches have.
  void seek(const BatchPosition& position) {
    check(position.epoch >= 0 && position.batch >= 0, "BatchOrder::seek: the position is epoch ", position.epoch,
          ", batch ", position.batch, ", expected 0 or more");
    check(position.buffer == 0, "BatchOrder::seek: the position is in buffer ", position.buffer,
          ", expected 0; is it a position of StreamedBatches?");
    const BatchPosition before = position_;
    if (position.epoch != before.epoch) begin_epoch(position.epoch);
    const Index found = batches();
    if (position.batch > found && position.epoch != before.epoch) begin_epoch(before.epoch);
    position_.batch = position.batch > found ? before.batch : position.batch;
    check(position.batch <= found, "BatchOrder::seek: epoch ", position.epoch, " has ", found,
          " batches, the position is batch ", position.batch, "; is it of another corpus?");
  }

  /// Returns whether next() begins another epoch.
  bool is_at_end_of_epoch() const { return position_.batch == batches(); }

  /// Returns the number of epochs done, including the fraction of the current one.
  double epochs_done() const {
    return static_cast<double>(position_.epoch) + static_cast<double>(position_.batch) / static_cast<double>(batches());
  }

  /// Returns the usual number of batches in an epoch. An epoch may have a few more or fewer, because its random order
  /// decides which sentences of equal length share a batch.
  Index batches_per_epoch() const {
    return static_cast<Index>(token_batches(source_lengths_, target_lengths_, options_.max_tokens).size());
  }

 private:
  static std::vector<Index> lengths_of(const Tokens& sentences) {
    std::vector<Index> lengths;
    lengths.reserve(static_cast<std::size_t>(sentences.sequences()));
    for (Index i = 0; i < sentences.sequences(); ++i) lengths.push_back(static_cast<Index>(sentences[i].size()) + 1);
    return lengths;
  }
  Index batches() const { return static_cast<Index>(batches_.size()); }
  void begin_epoch(Index epoch) {
    Rng rng = epoch_rng(options_.seed, epoch);
    batches_ = token_batches(source_lengths_, target_lengths_, options_.max_tokens, rng);
    position_ = {epoch, 0};
  }

  std::vector<Index> source_lengths_, target_lengths_;
  BatchOrderOptions options_;
  std::vector<std::vector<Index>> batches_;  // of the current epoch
  BatchPosition position_;
};

}  // namespace eigenformer::inline EIGENFORMER_ABI
