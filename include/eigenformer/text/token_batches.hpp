// Groups sentences into batches by token count.
#pragma once

#include <algorithm>
#include <numeric>
#include <span>
#include <utility>
#include <vector>

#include "eigenformer/core/check.hpp"
#include "eigenformer/core/rng.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

namespace detail {

inline Index longer_side(std::span<const Index> source_lengths, std::span<const Index> target_lengths, Index sentence) {
  const auto i = static_cast<std::size_t>(sentence);
  return std::max<Index>(source_lengths[i], target_lengths[i]);
}

/// Sorts `order`, a permutation of the sentences, by length and cuts it into batches. Equal lengths keep their order.
inline std::vector<std::vector<Index>> cut_by_length(std::span<const Index> source_lengths,
                                                     std::span<const Index> target_lengths, Index max_tokens,
                                                     std::vector<Index> order) {
  const auto length = [&](Index sentence) { return longer_side(source_lengths, target_lengths, sentence); };
  std::stable_sort(order.begin(), order.end(), [&](Index a, Index b) { return length(a) < length(b); });
  std::vector<std::vector<Index>> batches;
  Index sources = 0;
  Index targets = 0;
  for (const Index sentence : order) {
    sources += source_lengths[static_cast<std::size_t>(sentence)];
    targets += target_lengths[static_cast<std::size_t>(sentence)];
    if (batches.empty() || std::max<Index>(sources, targets) > max_tokens) {
      batches.emplace_back();
      sources = source_lengths[static_cast<std::size_t>(sentence)];
      targets = target_lengths[static_cast<std::size_t>(sentence)];
    }
    batches.back().push_back(sentence);
  }
  return batches;
}

/// Returns the sentence indices 0, 1, ... Throws if the numbers of lengths differ, if max_tokens < 1, or if a sentence
/// is longer than max_tokens.
inline std::vector<Index> sentence_numbers(std::span<const Index> source_lengths, std::span<const Index> target_lengths,
                                           Index max_tokens) {
  check(source_lengths.size() == target_lengths.size(), "token_batches: ", source_lengths.size(), " source lengths, ",
        target_lengths.size(), " target lengths");
  check(max_tokens >= 1, "token_batches: max_tokens is ", max_tokens, ", expected at least 1");
  std::vector<Index> numbers(source_lengths.size());
  std::iota(numbers.begin(), numbers.end(), Index{0});
  for (const Index i : numbers) {
    const Index length = longer_side(source_lengths, target_lengths, i);
    check(length <= max_tokens, "token_batches: sentence ", i, " has ", length, " tokens, max_tokens is ", max_tokens);
  }
  return numbers;
}

}  // namespace detail

/// Returns random batches of sentence indices, which contain every sentence once. Each batch has at most max_tokens
/// tokens on the source side and at most max_tokens on the target side. Only real tokens count; there is no padding.
///
/// A batch groups sentences of similar length, so that few of them end long before the others. The order of the
/// batches, and of sentences of equal length, is drawn anew by each call. Throws if the numbers of lengths differ, if
/// max_tokens < 1, or if a sentence is longer than max_tokens.
inline std::vector<std::vector<Index>> token_batches(std::span<const Index> source_lengths,
                                                     std::span<const Index> target_lengths, Index max_tokens,
                                                     Rng& rng) {
  std::vector<Index> order = detail::sentence_numbers(source_lengths, target_lengths, max_tokens);
  rng.shuffle(std::span(order));
  std::vector<std::vector<Index>> batches =
      detail::cut_by_length(source_lengths, target_lengths, max_tokens, std::move(order));
  rng.shuffle(std::span(batches));
  return batches;
}

/// Returns deterministic batches of sentence indices, for evaluation: from short to long, equal lengths in order of
/// their index. Each batch has at most max_tokens tokens on the source side and at most max_tokens on the target side.
/// Throws if the numbers of lengths differ, if max_tokens < 1, or if a sentence is longer than max_tokens.
inline std::vector<std::vector<Index>> token_batches(std::span<const Index> source_lengths,
                                                     std::span<const Index> target_lengths, Index max_tokens) {
  return detail::cut_by_length(source_lengths, target_lengths, max_tokens,
                               detail::sentence_numbers(source_lengths, target_lengths, max_tokens));
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
