// Batches of a corpus that is too large for memory.
#pragma once

#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

#include "eigenformer/text/token_batches.hpp"
#include "eigenformer/text/tokens.hpp"
#include "eigenformer/train/training_state.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

struct StreamedBatchesOptions {
  Index max_tokens = 2048;     // of a batch, on either side
  Index buffered = 1'000'000;  // sentence pairs in memory
  std::uint64_t seed = 1;
};

/// Yields batches of sentence pairs, epoch after epoch. Reads the corpus anew in each epoch. A buffer holds the next
/// pairs of the corpus. Its batches come in random order; then the buffer is filled again. Pairs that lie far apart in
/// the corpus never share a batch, so shuffle a sorted corpus beforehand.
///
/// The order depends only on the corpus, the options and the number of the epoch. To continue a run, save only the
/// position, as with BatchOrder. But seek() reads the epoch again up to the position.
class StreamedBatches {
 public:
  /// Reads the next pair into two encoded sentences without special tokens. Returns false at the end of the corpus.
  using Reader = std::function<bool(std::vector<Token>& source, std::vector<Token>& target)>;

  /// open: begins to read the corpus and returns its reader. Throws if `buffered` is below 1.
  explicit StreamedBatches(std::function<Reader()> open, const StreamedBatchesOptions& options = {})
      : open_(std::move(open)), options_(options) {
    check(options.buffered >= 1, "StreamedBatches: buffered is ", options.buffered, ", expected 1 or more");
    begin_epoch(0);
  }

  /// Returns the next batch. Throws if the corpus is empty, or if a sentence has more than max_tokens with its end
  /// token.
  TranslationBatch next() {
    if (used_ == batches_.size() && !fill()) {
      check(position_.batch > 0, "StreamedBatches: the corpus is empty");
      begin_epoch(position_.epoch + 1);
      check(fill(), "StreamedBatches: the corpus is empty");
    }
    ++position_.batch;
    return translation_batch(sources_, targets_, batches_[used_++]);
  }

  /// Returns the position of the next batch. After the last batch of an epoch, `batch` is the number of its batches.
  const BatchPosition& position() const { return position_; }

  /// Continues at a position that position() returned. Throws if the epoch has fewer batches.
  void seek(const BatchPosition& position) {
    begin_epoch(position.epoch);
    while (position_.batch < position.batch) {
      check(fill(), "StreamedBatches::seek: epoch ", position.epoch, " has ", position_.batch,
            " batches, the position is batch ", position.batch, "; is it of another corpus?");
      used_ = std::min<std::size_t>(batches_.size(), static_cast<std::size_t>(position.batch - position_.batch));
      position_.batch += static_cast<Index>(used_);
    }
  }

 private:
  void begin_epoch(Index epoch) {
    check(epoch >= 0, "StreamedBatches: the epoch is ", epoch, ", expected 0 or more");
    reader_ = open_();
    rng_ = epoch_rng(options_.seed, epoch);
    batches_.clear();
    used_ = 0;
    position_ = {epoch, 0};
  }

  /// Reads the next pairs and makes their batches. Returns false at the end of the corpus.
  bool fill() {
    sources_.clear();
    targets_.clear();
    std::vector<Index> source_lengths, target_lengths;
    std::vector<Token> source, target;
    while (static_cast<Index>(sources_.size()) < options_.buffered && reader_(source, target)) {
      source_lengths.push_back(static_cast<Index>(source.size()) + 1);
      target_lengths.push_back(static_cast<Index>(target.size()) + 1);
      sources_.push_back(source);
      targets_.push_back(target);
    }
    used_ = 0;
    batches_.clear();
    if (sources_.empty()) return false;
    Rng of_buffer(rng_.split());
    batches_ = token_batches(source_lengths, target_lengths, options_.max_tokens, of_buffer);
    return true;
  }

  std::function<Reader()> open_;
  StreamedBatchesOptions options_;
  Reader reader_;
  Rng rng_{0};                                         // of the epoch; each buffer splits its own
  std::vector<std::vector<Token>> sources_, targets_;  // the buffer
  std::vector<std::vector<Index>> batches_;            // of the buffer
  std::size_t used_ = 0;                               // number of the buffer's batches that next() has returned
  BatchPosition position_;
};

}  // namespace eigenformer::inline EIGENFORMER_ABI
