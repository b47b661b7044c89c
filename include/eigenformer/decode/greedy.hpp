// Greedy decoding: appends the most likely next token, step by step, until the end token.
#pragma once

#include <algorithm>
#include <cmath>
#include <optional>
#include <span>
#include <utility>

#include "eigenformer/core/detail/fast_math.hpp"
#include "eigenformer/decode/hypothesis.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

struct GreedyOptions {
  Token begin = 1;         // the decoder's first input: Vocabulary::begin
  Token end = 2;           // ends a sequence: Vocabulary::end
  Index max_tokens = 256;  // maximum length, after which a sequence is cut off
  // Maximum length of each sequence, replacing max_tokens. Derive it from the sequence alone: a limit that depends on
  // the batch makes the result depend on the batch.
  std::optional<std::span<const Index>> limits{};
};

/// Decodes `sentences` sequences at once. Sequences that have ended leave the batch. Ties between tokens go to the
/// lowest number. If the step has max_tokens(), no sequence exceeds it: a Transformer with learned positions needs such
/// a limit. Throws if `sentences` or a limit is negative, if there is not one limit per sentence, or if the step's
/// logits have the wrong number of rows, or a row has NaN, infinity, or nothing but minus infinity.
///
///   TransformerState<float> step(model, source);
///   std::vector<Hypothesis> translations = greedy_search(step, source.sequences());
template <class Step>
std::vector<Hypothesis> greedy_search(Step&& step, Index sentences, const GreedyOptions& options = {}) {
  check(sentences >= 0 && options.max_tokens >= 0, "greedy_search: ", sentences, " sentences of at most ",
        options.max_tokens, " tokens, expected 0 or more");
  std::vector<Index> limits(static_cast<std::size_t>(sentences), options.max_tokens);
  if (options.limits.has_value()) {
    check(options.limits->size() == limits.size(), "greedy_search: there are ", options.limits->size(),
          " limits, expected ", sentences, ", one a sentence");
    limits.assign(options.limits->begin(), options.limits->end());
  }
  if constexpr (requires { step.max_tokens(); })
    for (Index& limit : limits) limit = std::min<Index>(limit, step.max_tokens());

  std::vector<Hypothesis> results(limits.size());
  std::vector<Index> running;  // sentence of each hypothesis that has neither ended nor reached its limit
  for (Index sentence = 0; sentence < sentences; ++sentence) {
    const Index limit = limits[static_cast<std::size_t>(sentence)];
    check(limit >= 0, "greedy_search: sentence ", sentence, " has the limit ", limit, ", expected 0 or more");
    if (limit > 0) running.push_back(sentence);
  }
  std::vector<Index> parents = running;
  std::vector<Token> tokens(running.size(), options.begin);

  while (!running.empty()) {
    const auto logits = step(std::span<const Index>(parents), std::span<const Token>(tokens));
    check(logits.rows() == static_cast<Index>(running.size()), "greedy_search: the step gave logits ", shape(logits),
          ", expected ", running.size(), " rows");
    std::vector<Index> still_running;
    parents.clear();
    tokens.clear();
    for (Index i = 0; i < logits.rows(); ++i) {
      Index best = 0;
      const double largest = logits.row(i).maxCoeff(&best);
      const double log_sum = std::log((logits.row(i).array() - logits(i, best)).exp().sum());
      const Index sentence = running[static_cast<std::size_t>(i)];
      Hypothesis& result = results[static_cast<std::size_t>(sentence)];
      check(detail::is_finite(largest) && detail::is_finite(log_sum), "greedy_search: the step's logits for sentence ",
            sentence, " are not finite");
      result.log_probability -= log_sum;
      if (best == options.end) {
        result.ended = true;
        continue;
      }
      result.tokens.push_back(static_cast<Token>(best));
      if (static_cast<Index>(result.tokens.size()) == limits[static_cast<std::size_t>(sentence)]) continue;
      still_running.push_back(sentence);
      parents.push_back(i);
      tokens.push_back(static_cast<Token>(best));
    }
    running = std::move(still_running);
  }
  return results;
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
