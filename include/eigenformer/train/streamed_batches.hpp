// Batches of a corpus that may be too large for memory.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <numeric>
#include <span>
#include <utility>
#include <vector>

#include "eigenformer/core/detail/run_tasks.hpp"
#include "eigenformer/text/encoded_pairs.hpp"
#include "eigenformer/text/token_batches.hpp"
#include "eigenformer/text/tokens.hpp"
#include "eigenformer/train/detail/all_gather_pairs.hpp"
#include "eigenformer/train/ranks.hpp"
#include "eigenformer/train/sum_tree.hpp"
#include "eigenformer/train/training_state.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// Options of StreamedBatches.
struct StreamedBatchesOptions {
  Index max_tokens = 2048;    // of a batch, on either side
  Index buffer_blocks = 256;  // blocks of the corpus in memory
  std::uint64_t seed = 1;
  bool blocks_vary = false;    // whether a block's tokens change from epoch to epoch, as with random subword splits
  Threads* threads = nullptr;  // threads that read the blocks of a buffer
  Ranks* ranks = nullptr;      // processes that share the reading of a buffer; null: this one alone
};

namespace detail {

/// Returns one side of all parts, joined. Empties that side of each part to save memory.
inline Tokens join_tokens(std::span<EncodedPairs> parts, Tokens EncodedPairs::*side) {
  std::size_t ids = 0, sequences = 0;
  for (const EncodedPairs& part : parts) {
    ids += (part.*side).ids.size();
    sequences += static_cast<std::size_t>((part.*side).sequences());
  }
  Tokens joined;
  joined.ids.reserve(ids);
  std::vector<Index> rows{0};
  rows.reserve(sequences + 1);
  for (EncodedPairs& pairs : parts) {
    Tokens& part = pairs.*side;
    const auto before = static_cast<Index>(joined.ids.size());
    joined.ids.insert(joined.ids.end(), part.ids.begin(), part.ids.end());
    for (Index i = 0; i < part.sequences(); ++i)
      rows.push_back(before + (part.rows.given() ? part.rows.end(i) : static_cast<Index>(part.ids.size())));
    part = {};
  }
  joined.rows = RowOffsets(std::move(rows));
  return joined;
}

/// Returns the links of all parts, joined. Empties them in each part to save memory.
inline StoredAlignments join_alignments(std::span<EncodedPairs> parts) {
  Index pairs = 0, links = 0;
  for (const EncodedPairs& part : parts) {
    pairs += part.alignments.size();
    links += part.alignments.links();
  }
  StoredAlignments joined;
  joined.reserve(pairs, links);
  for (EncodedPairs& part : parts) {
    joined.add(part.alignments);
    part.alignments = {};
  }
  return joined;
}

/// Returns the length of each sequence plus 1, for the begin or end token.
inline std::vector<Index> lengths_with_end(const Tokens& tokens) {
  std::vector<Index> lengths;
  lengths.reserve(static_cast<std::size_t>(tokens.sequences()));
  for (Index i = 0; i < tokens.sequences(); ++i) lengths.push_back(static_cast<Index>(tokens[i].size()) + 1);
  return lengths;
}

}  // namespace detail

/// Yields batches of sentence pairs, epoch after epoch. The corpus is divided into blocks of consecutive pairs. In each
/// epoch, the blocks come in a new random order. The first blocks fill a shuffle buffer, which yields its batches in
/// random order. The following blocks then refill it. So a buffer mixes pairs from the whole corpus, even if it is
/// sorted. If the corpus fits in one buffer, the batches are those of BatchOrder, and the corpus is read only once,
/// unless blocks vary.
///
/// The order depends only on the pairs, the options and the epoch, not on the number of threads or ranks. All ranks
/// must make the same calls in the same order, because ranks read together. To continue a run, save only the position,
/// as with BatchOrder. seek() reads at most one buffer, however large the corpus is.
class StreamedBatches {
 public:
  /// Returns the encoded pairs of a block, with links for all pairs of the corpus or for none. Called by several
  /// threads at once. The result may depend only on the block and, if blocks vary, on the epoch. Both count from 0.
  using Reader = std::function<EncodedPairs(Index epoch, Index block)>;

  /// Reads the first buffer. blocks: the number of blocks in the corpus. Throws if blocks or buffer_blocks is below 1.
  /// The constructor, next(), skip() and seek() may read a buffer. They throw if the reader does, if a block has
  /// unequal numbers of sources and targets or links for only some pairs, or if a sentence with its end token is longer
  /// than max_tokens. After an error, the stream continues with the same batch: the next call reads the buffer again.
  StreamedBatches(Index blocks, Reader read, const StreamedBatchesOptions& options = {})
      : blocks_(blocks), read_(std::move(read)), options_(options) {
    check(blocks >= 1 && options.buffer_blocks >= 1, "StreamedBatches: ", blocks, " blocks in buffers of ",
          options.buffer_blocks, ", expected 1 or more of both");
    begin_buffer(0, 0);
  }

  /// Returns the next batch. Throws if the corpus has no pairs.
  TranslationBatch next() {
    find_batch();
    TranslationBatch batch = translation_batch(pairs_, batches_[static_cast<std::size_t>(position_.batch)]);
    pass_batch();
    return batch;
  }

  /// Skips the next batch. Throws if the corpus has no pairs.
  void skip() {
    find_batch();
    pass_batch();
  }

  /// Returns the position of the next batch. After the last batch of an epoch, `batch` is the number of batches in its
  /// last buffer.
  const BatchPosition& position() const { return position_; }

  /// Returns the position of the last batch that next() returned or skip() skipped. Before any call, it is the position
  /// of the first batch.
  const BatchPosition& last_position() const { return last_position_; }

  /// Continues at a position that position() returned. Throws if there is no such position. Then the stream stays where
  /// it was, and reads its buffer again if it read another one to find out.
  void seek(BatchPosition position) {
    check(position.epoch >= 0 && position.batch >= 0 && position.buffer >= 0 && position.buffer < buffers(),
          "StreamedBatches::seek: the position is epoch ", position.epoch, ", buffer ", position.buffer, ", batch ",
          position.batch, "; an epoch has ", buffers(), " buffers");
    const BatchPosition before = position_;
    if (!has_buffer_ || position.epoch != position_.epoch || position.buffer != position_.buffer)
      begin_buffer(position.epoch, position.buffer);
    const Index found = batches();
    if (position.batch > found && (position.epoch != before.epoch || position.buffer != before.buffer))
      begin_buffer(before.epoch, before.buffer);
    if (position.batch > found) position_ = before;
    check(position.batch <= found, "StreamedBatches::seek: buffer ", position.buffer, " of epoch ", position.epoch,
          " has ", found, " batches, the position is batch ", position.batch, "; is it of another corpus?");
    position_.batch = position.batch;
  }

  /// Returns the number of epochs done, including the fraction of the current one.
  double epochs_done() const {
    const double of_buffer = batches() == 0 ? 1 : static_cast<double>(position_.batch) / static_cast<double>(batches());
    return static_cast<double>(position_.epoch) +
           (static_cast<double>(position_.buffer) + of_buffer) / static_cast<double>(buffers());
  }

  /// Returns an estimate of the number of batches in an epoch, from the first buffer read that has pairs; 0 before.
  Index batches_per_epoch() const { return usual_batches_; }

  /// The number of buffers in an epoch. Their numbers of blocks differ by at most one.
  Index buffers() const { return (blocks_ - 1) / options_.buffer_blocks + 1; }

  /// The number of pairs in the buffer.
  Index buffered_pairs() const { return pairs_.size(); }

 private:
  Index batches() const { return static_cast<Index>(batches_.size()); }
  bool is_at_end_of_buffer() const { return position_.batch == batches(); }

  /// Moves to the next batch, which may be in the next epoch.
  void find_batch() {
    if (!has_buffer_) seek(position_);
    for (Index tried = 0; is_at_end_of_buffer(); ++tried) {
      // Searches the buffers of up to two epochs: the only pair may come first in one epoch and last in the next.
      check(tried < 2 * buffers(), "StreamedBatches: the corpus has no pairs");
      const bool is_last = position_.buffer + 1 == buffers();
      begin_buffer(is_last ? position_.epoch + 1 : position_.epoch, is_last ? 0 : position_.buffer + 1);
    }
  }

  /// Moves past a batch. After the last batch of a buffer, reads the next buffer with pairs in this epoch, so that
  /// epochs_done() is whole as soon as no pair is left.
  void pass_batch() {
    const BatchPosition before = position_;
    ++position_.batch;
    for (Index buffer = before.buffer + 1; is_at_end_of_buffer() && buffer < buffers(); ++buffer) {
      position_ = before;  // if reading fails, the next call returns this batch again
      begin_buffer(before.epoch, buffer);
    }
    last_position_ = before;
  }

  /// Reads the blocks of a buffer and makes its batches.
  void begin_buffer(Index epoch, Index buffer) {
    has_buffer_ = false;
    Rng rng = epoch_rng(options_.seed, epoch);
    std::vector<Index> order(static_cast<std::size_t>(blocks_));
    std::iota(order.begin(), order.end(), Index{0});
    if (buffers() > 1) {
      rng.shuffle(std::span(order));
      for (Index i = 0; i < buffer; ++i) rng.split();
      rng = Rng(rng.split());
    }
    if (buffers() > 1 || options_.blocks_vary || !has_read_) {
      const Index begin = buffer * blocks_ / buffers(), end = (buffer + 1) * blocks_ / buffers();
      read(epoch, std::span(order).subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin)));
    }
    const std::vector<Index> source = detail::lengths_with_end(pairs_.source),
                             target = detail::lengths_with_end(pairs_.target);
    batches_ = token_batches(source, target, options_.max_tokens, rng);
    if (usual_batches_ == 0)
      usual_batches_ = static_cast<Index>(token_batches(source, target, options_.max_tokens).size()) * buffers();
    position_ = {.epoch = epoch, .batch = 0, .buffer = buffer};
    has_buffer_ = true;
  }

  void read(Index epoch, std::span<const Index> blocks) {
    pairs_ = {};
    std::vector<EncodedPairs> parts(blocks.size());
    const LeafDivision division{static_cast<Index>(blocks.size()),
                                options_.ranks == nullptr ? 1 : options_.ranks->size()};
    const Index first = options_.ranks == nullptr ? 0 : division.begin(options_.ranks->rank());
    const Index end = options_.ranks == nullptr ? division.leaves : division.end(options_.ranks->rank());
    detail::run_tasks(options_.threads, end - first, [&](Index i) {
      const auto part = static_cast<std::size_t>(first + i);
      parts[part] = read_(epoch, blocks[part]);
    });
    check_blocks(std::span(parts).subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(end - first)));
    if (options_.ranks != nullptr) {
      detail::all_gather_pairs(*options_.ranks, division, parts);
      check_blocks(parts);
    }
    pairs_.source = detail::join_tokens(parts, &EncodedPairs::source);
    pairs_.target = detail::join_tokens(parts, &EncodedPairs::target);
    pairs_.alignments = detail::join_alignments(parts);
    has_read_ = true;
  }

  /// Throws unless each block has as many sources as targets, and either all blocks have links for all of their pairs
  /// or none has links.
  static void check_blocks(std::span<const EncodedPairs> blocks) {
    const bool has_links =
        std::any_of(blocks.begin(), blocks.end(), [](const EncodedPairs& block) { return !block.alignments.empty(); });
    for (const EncodedPairs& block : blocks) {
      check(block.source.sequences() == block.target.sequences(), "StreamedBatches: a block has ",
            block.source.sequences(), " sources and ", block.target.sequences(), " targets");
      check(!has_links || block.alignments.size() == block.size(), "StreamedBatches: a block has ", block.size(),
            " pairs, but links for ", block.alignments.size(), " of them");
    }
  }

  Index blocks_;
  Reader read_;
  StreamedBatchesOptions options_;
  EncodedPairs pairs_;                       // the buffer
  std::vector<std::vector<Index>> batches_;  // of the buffer
  BatchPosition position_, last_position_;
  Index usual_batches_ = 0;
  bool has_read_ = false;
  bool has_buffer_ = false;  // whether pairs_ and batches_ are those of position_; false after an error
};

}  // namespace eigenformer::inline EIGENFORMER_ABI
