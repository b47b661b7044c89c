// A queue of source sentences to decode.
#pragma once

#include <algorithm>
#include <limits>
#include <span>
#include <vector>

#include "eigenformer/decode/detail/batch_search.hpp"
#include "eigenformer/text/tokens.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

/// Hands out sentences in batches of at most max_batch_size, the longest first. A sentence of a larger size is a batch
/// of its own.
class SourceQueue {
 public:
  SourceQueue(const Tokens& sources, const DecodingOptions& options, const char* where)
      : sources_(sources),
        encoded_tokens_(options.cancelled == nullptr ? (std::numeric_limits<Index>::max)() : 1024),
        capacity_(options.max_batch_size == 0 ? (std::numeric_limits<Index>::max)() : options.max_batch_size) {
    std::vector<Index> lengths;
    for (Index i = 0; i < sources.sequences(); ++i) lengths.push_back(static_cast<Index>(sources[i].size()));
    plans_ = plan_sentences(sources.sequences(), lengths, options, where);
    std::stable_sort(plans_.begin(), plans_.end(), [&](const SentencePlan& a, const SentencePlan& b) {
      return lengths[static_cast<std::size_t>(a.sentence)] > lengths[static_cast<std::size_t>(b.sentence)];
    });
  }

  bool empty() const { return next_ == plans_.size(); }

  /// Returns the next sentences that fit into the batch. active: the size of the sentences in it. Returns none while
  /// less than a quarter of the batch is free, because encoding several sentences at once is faster.
  std::span<const SentencePlan> take(Index active) {
    const std::size_t first = next_;
    if (active > 0 && capacity_ - active < std::max<Index>(1, capacity_ / 4)) return {};
    while (next_ < plans_.size() && (active == 0 || plans_[next_].size <= capacity_ - active))
      active += plans_[next_++].size;
    return std::span<const SentencePlan>(plans_).subspan(first, next_ - first);
  }

  /// Returns the leading sentences of `plans` that are encoded together: all, or about 1024 tokens if the search can be
  /// cancelled, so that it ends soon after a cancellation. See DecodingOptions::cancelled.
  std::span<const SentencePlan> first_part(std::span<const SentencePlan> plans) const {
    Index tokens = 0;
    std::size_t count = 0;
    for (; count < plans.size(); ++count) {
      tokens += static_cast<Index>(sources_[plans[count].sentence].size());
      if (tokens > encoded_tokens_ && count > 0) break;
    }
    return plans.first(count);
  }

  /// Returns the tokens of some sentences.
  Tokens tokens(std::span<const SentencePlan> plans) const {
    std::vector<std::vector<Token>> sequences;
    for (const SentencePlan& plan : plans) {
      const std::span<const Token> tokens = sources_[plan.sentence];
      sequences.emplace_back(tokens.begin(), tokens.end());
    }
    return Tokens::of(sequences);
  }

 private:
  const Tokens& sources_;
  Index encoded_tokens_, capacity_;
  std::vector<SentencePlan> plans_;
  std::size_t next_ = 0;
};

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
