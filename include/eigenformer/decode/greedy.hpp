// Greedy decoding: appends the most likely next token, step by step, until the end token.
#pragma once

#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "eigenformer/decode/beam_search.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

struct GreedyOptions {
  Token begin = 1;         // the decoder's first input: Vocabulary::begin
  Token end = 2;           // ends a sequence: Vocabulary::end
  Index max_tokens = 256;  // maximum length, after which a sequence is cut off
  // Maximum length of each sequence, replacing max_tokens. Derive it from the sequence alone: a limit that depends on
  // the batch makes the result depend on the batch.
  std::optional<std::span<const Index>> limits{};
};

/// Decodes `sentences` sequences at once, as beam_search does with beam_size 1, without penalties or a minimum length.
/// Sequences that have ended leave the batch. Ties go to the lowest token number. If the step has max_tokens(), no
/// sequence exceeds it: a Transformer with learned positions needs such a limit. Throws if `sentences` or a limit is
/// negative, if there is not one limit per sentence, or if the step's logits have the wrong number of rows, or a row
/// has NaN, infinity, or nothing but minus infinity.
///
///   TransformerState<float> step(model, source);
///   std::vector<Hypothesis> translations = greedy_search(step, source.sequences());
template <DecodingStep Step>
std::vector<Hypothesis> greedy_search(Step&& step, Index sentences, const GreedyOptions& options = {}) {
  const DecodingOptions decoding{.beam_size = 1,
                                 .length_penalty = 0,
                                 .begin_token = options.begin,
                                 .end_token = options.end,
                                 .max_decoding_length = options.max_tokens,
                                 .min_decoding_length = 0,
                                 .limits = options.limits};
  std::vector<Hypothesis> results;
  for (std::vector<Hypothesis>& best : detail::search_step(step, sentences, decoding, "greedy_search"))
    results.push_back(std::move(best.front()));
  return results;
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
