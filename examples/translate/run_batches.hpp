// The batches of a training run.
#pragma once

#include <functional>
#include <optional>
#include <utility>
#include <vector>

#include "eigenformer/text/alignment_labels.hpp"
#include "eigenformer/text/tokens.hpp"
#include "eigenformer/train/batch_order.hpp"
#include "translate/program.hpp"

namespace translate {

/// Encoded sentence pairs, without begin and end tokens.
struct EncodedPairs {
  ef::Tokens source;
  ef::Tokens target;
  ef::StoredAlignments alignments{};  // of the pairs' tokens; empty: none

  ef::Index size() const { return source.sequences(); }
};

/// Encodes the pairs of an epoch, counted from 0. The result depends on the epoch alone.
using EncodeEpoch = std::function<EncodedPairs(ef::Index epoch)>;

/// Yields the batches of a run, epoch after epoch. A batch depends only on the pairs, the options and its position.
class RunBatches {
 public:
  /// pairs: must outlive this object. encode_epoch: encodes the pairs of each epoch, with subwords split at random;
  /// empty: every epoch has `pairs`.
  RunBatches(const EncodedPairs& pairs, const ef::BatchOrderOptions& options, EncodeEpoch encode_epoch)
      : pairs_(pairs),
        options_(options),
        encode_epoch_(std::move(encode_epoch)),
        order_(std::in_place, pairs.source, pairs.target, options),
        batches_per_epoch_(order_->batches_per_epoch()) {
    if (encode_epoch_) begin_epoch(0);
  }

  /// Returns the next batch.
  ef::TranslationBatch next() {
    if (encode_epoch_ && order_->is_at_end_of_epoch()) begin_epoch(order_->position().epoch + 1);
    const EncodedPairs& pairs = encode_epoch_ ? of_epoch_ : pairs_;
    const std::vector<ef::Index>& chosen = order_->next();
    ef::TranslationBatch batch = ef::translation_batch(pairs.source, pairs.target, chosen);
    if (!pairs.alignments.empty()) batch.alignment = ef::alignment_labels(pairs.alignments, chosen, batch);
    return batch;
  }

  /// Returns the position of the next batch.
  const ef::BatchPosition& position() const { return order_->position(); }
  /// Continues at a position that position() returned.
  void seek(const ef::BatchPosition& position) {
    if (encode_epoch_ && position.epoch != order_->position().epoch) begin_epoch(position.epoch);
    order_->seek(position);
  }
  double epochs_done() const { return order_->epochs_done(); }
  /// Returns the usual number of batches in an epoch; see BatchOrder::batches_per_epoch.
  ef::Index batches_per_epoch() const { return batches_per_epoch_; }

 private:
  void begin_epoch(ef::Index epoch) {
    of_epoch_ = encode_epoch_(epoch);
    order_.emplace(of_epoch_.source, of_epoch_.target, options_);
    order_->seek({epoch, 0});
  }

  const EncodedPairs& pairs_;
  ef::BatchOrderOptions options_;
  EncodeEpoch encode_epoch_;
  EncodedPairs of_epoch_;  // of the current epoch, if encode_epoch_ is set
  std::optional<ef::BatchOrder> order_;
  ef::Index batches_per_epoch_;
};

}  // namespace translate
