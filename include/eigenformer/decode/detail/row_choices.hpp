// Chooses the tokens that may follow a hypothesis, from its row of logits.
#pragma once

#include <cmath>
#include <span>
#include <vector>

#include "eigenformer/core/rng.hpp"
#include "eigenformer/decode/detail/sentence_search.hpp"
#include "eigenformer/decode/logits_processors.hpp"
#include "eigenformer/decode/sampling.hpp"
#include "eigenformer/kernels/softmax.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

/// Buffers for one row at a time. Each task has its own.
template <class Scalar>
struct RowBuffers {
  std::vector<Scalar> logits;
  std::vector<double> wide_logits;
  std::vector<Token> history;
  std::vector<Token> top;
  SamplingBuffers sampling;
};

/// Returns the uniform random number in [0, 1) that decides a draw. number: the number of the sample.
inline double uniform_for(std::uint64_t seed, Index sentence, Index number, Index step) {
  const RandomKey key{seed, static_cast<std::uint64_t>(sentence) << 32 | static_cast<std::uint32_t>(number)};
  const std::array<std::uint32_t, 4> words = key.draw(static_cast<std::uint64_t>(step));
  return static_cast<double>(std::uint64_t{words[0] >> 5} << 26 | words[1] >> 6) * 0x1p-53;
}

/// A row of logits and the hypothesis that it belongs to.
template <class Scalar>
struct LogitsRow {
  std::span<const Scalar> logits;
  const SentenceSearch& search;
  Index hypothesis;

  /// Returns whether the options change the logits of this row.
  bool is_changed(const DecodingOptions& options) const {
    return search.length() < options.min_decoding_length || options.repetition_penalty != 1 ||
           options.no_repeat_ngram_size > 0 || options.disable_unk || !options.suppress_sequences.empty() ||
           !options.suppress_tokens.empty() || !options.processors.empty();
  }

  /// Returns the logits after all changes. They are stored in `buffers`.
  std::span<const Scalar> changed(const DecodingOptions& options, RowBuffers<Scalar>& buffers) const {
    buffers.logits.assign(logits.begin(), logits.end());
    const std::span<Scalar> row = buffers.logits;
    search.tokens_of(search.running()[static_cast<std::size_t>(hypothesis)], buffers.history);
    const std::span<const Token> history = buffers.history;
    if (search.length() < options.min_decoding_length)
      for (const Token token : options.end_token) suppress_token(row, token);
    if (options.repetition_penalty != 1) apply_repetition_penalty(row, history, options.repetition_penalty);
    if (options.no_repeat_ngram_size > 0) forbid_repeated_ngrams(row, history, options.no_repeat_ngram_size);
    if (options.disable_unk) suppress_token(row, options.unk_token);
    for (const Token token : options.suppress_tokens) suppress_token(row, token);
    for (const std::vector<Token>& sequence : options.suppress_sequences)
      suppress_sequence<Scalar>(row, history, sequence);
    if (options.processors.empty()) return row;
    buffers.wide_logits.assign(row.begin(), row.end());
    for (const LogitsProcessor& processor : options.processors)
      processor({.sentence = options.first_sentence + search.sentence(), .tokens = history}, buffers.wide_logits);
    for (std::size_t j = 0; j < row.size(); ++j) row[j] = static_cast<Scalar>(buffers.wide_logits[j]);
    return row;
  }
};

/// Returns whether a softmax of the logits is possible: none is NaN or plus infinity, and at least one is finite.
template <class Scalar>
bool has_finite_sum(std::span<const Scalar> logits) {
  const auto size = static_cast<Index>(logits.size());
  const Scalar largest = row_max(logits.data(), size);
  return is_finite(largest) && is_finite(sum_of_exp(logits.data(), size, largest));
}

/// Writes the choices for one hypothesis: the likeliest tokens, best first, or one token for each sample. Returns their
/// number: at most choices.size(), 0 if no token may follow, -1 if logits are not finite. A logit of minus infinity is
/// allowed if another is finite.
template <class Scalar>
Index choose_tokens(const LogitsRow<Scalar>& row, const DecodingOptions& options, RowBuffers<Scalar>& buffers,
                    std::span<Choice> choices) {
  std::span<const Scalar> logits = row.logits;
  const auto size = static_cast<Index>(logits.size());
  Scalar origin = row_max(logits.data(), size);
  if (!is_finite(origin)) return -1;
  if (row.is_changed(options)) {
    if (!is_finite(sum_of_exp(logits.data(), size, origin))) return -1;  // the changes may hide a NaN
    logits = row.changed(options, buffers);
    origin = row_max(logits.data(), size);
    if (is_minus_infinity(origin)) {
      for (const Scalar logit : logits)
        if (!is_minus_infinity(logit)) return -1;  // NaN
      return 0;
    }
  }
  const auto largest = static_cast<double>(origin);
  const auto log_sum = static_cast<double>(std::log(sum_of_exp(logits.data(), size, origin)));
  if (!is_finite(largest) || !is_finite(log_sum)) return -1;

  const RunningHypothesis& hypothesis = row.search.running()[static_cast<std::size_t>(row.hypothesis)];
  const auto choose = [&](Token token, Index number) {
    const double log_probability = static_cast<double>(logits[static_cast<std::size_t>(token)]) - largest - log_sum;
    return Choice{token, log_probability, row.hypothesis, number, hypothesis.log_probability + log_probability};
  };
  if (options.samples()) {
    const Index draws = row.search.draws(options);
    const SamplingOptions sampling{options.sampling_topk, options.sampling_topp, options.sampling_temperature};
    for (Index i = 0; i < draws; ++i) {
      const Index number = draws > 1 ? i : hypothesis.number;
      const double uniform =
          uniform_for(options.seed, options.first_sentence + row.search.sentence(), number, row.search.length());
      choices[static_cast<std::size_t>(i)] = choose(sample_token(logits, sampling, uniform, buffers.sampling), number);
    }
    return draws;
  }
  buffers.top.resize(choices.size());
  const Index found = top_tokens(logits.data(), size, std::span(buffers.top));
  for (Index i = 0; i < found; ++i)
    choices[static_cast<std::size_t>(i)] = choose(buffers.top[static_cast<std::size_t>(i)], 0);
  return found;
}

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
