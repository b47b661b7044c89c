// Options of decoding, for the library and the translation program. Names and defaults are those of CTranslate2's
// translate_batch. Options that it lacks are named as in Hugging Face's generate or in fairseq.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "eigenformer/core/detail/fast_math.hpp"
#include "eigenformer/core/named_enum.hpp"
#include "eigenformer/core/threads.hpp"
#include "eigenformer/text/vocabulary.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// The rule that ends a beam search: Hugging Face's `early_stopping`, whose values are in parentheses. Every rule
/// also ends the search once the num_hypotheses best cannot change.
enum class BeamStopping {
  always,     // (True) ends when beam_size * patience hypotheses have finished, as CTranslate2 does
  heuristic,  // (False) also waits until the best running hypothesis, at its current length, scores no better
  never,      // ("never") ends only when no running hypothesis can still enter the best
};
constexpr auto enum_names(BeamStopping) {
  return std::to_array<EnumName<BeamStopping>>(
      {{BeamStopping::always, "always"}, {BeamStopping::heuristic, "heuristic"}, {BeamStopping::never, "never"}});
}

/// The divisor of the log-probability of a hypothesis y. See length_penalty.hpp.
enum class LengthPenalty {
  average,  // |y|^a, as in CTranslate2
  gnmt,     // (5 + |y|)^a / 6^a (Wu et al. 2016, arXiv 1609.08144, equation 14)
};
constexpr auto enum_names(LengthPenalty) {
  return std::to_array<EnumName<LengthPenalty>>({{LengthPenalty::average, "average"}, {LengthPenalty::gnmt, "gnmt"}});
}

/// The unit of max_batch_size: sentences or source tokens.
enum class BatchType { examples, tokens };
constexpr auto enum_names(BatchType) {
  return std::to_array<EnumName<BatchType>>({{BatchType::examples, "examples"}, {BatchType::tokens, "tokens"}});
}

/// The tokens that end a sequence: one token or several. With an empty vector, only limits end a sequence; `{}` is the
/// default, Vocabulary::end.
///
///   DecodingOptions options{.end_token = 2};
///   DecodingOptions options{.end_token = {2, 17}};
class EndTokens {
 public:
  EndTokens(Token token = Vocabulary::end) : tokens_{token} {}
  EndTokens(std::initializer_list<Token> tokens) : tokens_(tokens) {}
  EndTokens(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  bool contains(Token token) const { return std::find(tokens_.begin(), tokens_.end(), token) != tokens_.end(); }
  std::vector<Token>::const_iterator begin() const { return tokens_.begin(); }
  std::vector<Token>::const_iterator end() const { return tokens_.end(); }

 private:
  std::vector<Token> tokens_;
};

/// A hypothesis for whose next token a processor changes the logits.
struct ProcessorInput {
  Index sentence = 0;               // in the caller's order, from first_sentence
  std::span<const Token> tokens{};  // so far, without the begin token
};

/// Changes the logits of a hypothesis's next token. Minus infinity forbids a token.
using LogitsProcessor = std::function<void(const ProcessorInput&, std::span<double> logits)>;

/// A token that greedy search or sampling has chosen, for streaming. A prefix is reported once, for hypothesis 0.
struct DecodingStepResult {
  Index sentence = 0;    // in the caller's order, from first_sentence
  Index hypothesis = 0;  // of this sentence; above 0 only in sampling
  Index step = 0;        // from 0
  Token token = 0;       // may be the end token
  double log_probability = 0;
  bool is_last = false;  // the token ends the hypothesis or reaches its limit
};

/// Options of beam search, greedy search and sampling.
///
/// With beam_size 1 the search is greedy, unless sampling_topk is not 1 and sampling_temperature is not 0. Then it
/// draws num_hypotheses samples of each sentence.
///
/// Logits are changed in CTranslate2's order: min_decoding_length, repetition_penalty, no_repeat_ngram_size,
/// disable_unk, suppressed tokens and sequences, then `processors`. Log-probabilities are those of the changed logits,
/// before the sampling options apply. A hypothesis that no token may follow is cut off there.
///
/// Departures from CTranslate2:
/// - A search also ends when the best hypotheses cannot change any more. CTranslate2 does so only without penalties.
/// - Scores are always returned, and prefixes are part of the results (its return_scores and return_prefix).
/// - Right after a prefix, the end token is a candidate like any other. CTranslate2 allows it only to the best
///   hypothesis.
/// - An empty hypothesis has length 1 in the length penalty.
/// - Sampling needs beam_size 1.
///
/// Departures from Hugging Face:
/// - The length in the length penalty includes a prefix, but not the end token.
/// - The repetition penalty applies to logits in beam search too, and never to the begin token.
struct DecodingOptions {
  Index beam_size = 2;
  double patience = 1;  // beam_size * patience hypotheses finish before the search ends (Kasai et al. 2022)
  // Maximum number of results of each sentence, at most 1,000,000; in beam search at most beam_size * patience, in
  // greedy search 1.
  Index num_hypotheses = 1;
  BeamStopping early_stopping = BeamStopping::always;
  double length_penalty = 1;  // the exponent a; 0: none
  LengthPenalty length_penalty_type = LengthPenalty::average;
  double coverage_penalty = 0;  // the factor beta (Wu et al. 2016, equation 14); 0: none

  double repetition_penalty = 1;   // above 1: tokens that have occurred become less likely (Keskar et al. 2019)
  Index no_repeat_ngram_size = 0;  // no n-gram of this size occurs twice; 0: n-grams may repeat
  bool disable_unk = false;        // never generates the unknown token
  std::vector<std::vector<Token>> suppress_sequences{};  // never generated
  std::vector<Token> suppress_tokens{};                  // never generated
  std::vector<LogitsProcessor> processors{};             // applied in order, by the calling thread alone

  Token begin_token = Vocabulary::begin;  // the decoder's first input
  EndTokens end_token{};                  // any of them ends a sequence; Vocabulary::end by default
  Token unk_token = Vocabulary::unknown;
  // First tokens of each sentence's hypotheses; empty: none. A prefix longer than the maximum length is cut off.
  std::span<const std::vector<Token>> target_prefix{};

  Index max_decoding_length = 256;  // maximum number of tokens, without the end token
  Index min_decoding_length = 1;    // minimum number of tokens, without the end token
  // A second maximum, as in fairseq: max_length_a * (source tokens, with the end token) + max_length_b, but at least
  // min_decoding_length. Both 0: none.
  double max_length_a = 0;
  Index max_length_b = 0;
  // Maximum length of each sentence, replacing max_decoding_length, even if it is below the minimum. Derive it from the
  // sentence alone: a limit that depends on the batch makes the result depend on the batch.
  std::optional<std::span<const Index>> limits{};

  Index sampling_topk = 1;          // draws from this number of likeliest tokens; 0: from all; 1: no sampling
  double sampling_topp = 1;         // draws from the fewest tokens with this total probability (Holtzman et al. 2020)
  double sampling_temperature = 1;  // divides the logits before the draw; 0: no sampling
  std::uint64_t seed = 0;           // a draw depends on the seed, the sentence's number, the hypothesis and the step
  Index first_sentence = 0;         // number of the first sentence, for a text that is decoded in several calls

  bool return_attention = false;                              // sets Hypothesis::alignments
  std::function<bool(const DecodingStepResult&)> callback{};  // returns true to stop a hypothesis; needs beam_size 1
  // Called by the calling thread before each step, and while sources are encoded, about every 1024 tokens; the search
  // throws if it returns true. A sentence is encoded in one go.
  std::function<bool()> cancelled{};

  Index max_batch_size = 0;  // maximum number of sentences decoded at once; 0: all. Results do not depend on it.
  BatchType batch_type = BatchType::examples;  // tokens: max_batch_size counts source tokens
  Threads* threads = nullptr;                  // threads that help the calling thread search

  bool samples() const { return sampling_topk != 1 && sampling_temperature != 0; }
  bool needs_alignments() const { return return_attention || coverage_penalty != 0; }
  /// Returns the number of hypotheses that finish before the search ends: beam_size * patience, rounded, at least 1.
  Index max_candidates() const {
    return std::max<Index>(1, static_cast<Index>(std::round(static_cast<double>(beam_size) * patience)));
  }
};

/// Throws if an option is out of range or contradicts another. where: begins the message.
inline void check_options(const DecodingOptions& options, const char* where) {
  const auto expect_least = [&](const char* name, Index value, Index least) {
    check(value >= least, where, ": ", name, " is ", value, ", expected ", least, " or more");
  };
  const auto expect = [&](bool good, const char* name, double value, const char* expected) {
    check(detail::is_finite(value) && good, where, ": ", name, " is ", value, ", expected ", expected);
  };
  expect_least("beam_size", options.beam_size, 1);
  check(options.beam_size <= 1'000'000, where, ": beam_size is ", options.beam_size, ", expected at most 1000000");
  expect(options.patience > 0 && options.patience <= 1e6, "patience", options.patience, "a number above 0");
  expect_least("num_hypotheses", options.num_hypotheses, 1);
  check(options.num_hypotheses <= 1'000'000, where, ": num_hypotheses is ", options.num_hypotheses,
        ", expected at most 1000000");
  check(!options.samples() || options.beam_size == 1, where, ": sampling_topk is ", options.sampling_topk,
        " and beam_size ", options.beam_size, "; sampling needs beam_size 1");
  check(options.callback == nullptr || options.beam_size == 1, where, ": a callback needs beam_size 1, given ",
        options.beam_size);
  const Index available = options.beam_size == 1 ? 1 : options.max_candidates();
  check(options.samples() || options.num_hypotheses <= available, where, ": num_hypotheses is ", options.num_hypotheses,
        ", expected at most ", available, options.beam_size == 1 ? " with beam_size 1" : ", beam_size * patience");
  expect(std::abs(options.length_penalty) <= 10, "length_penalty", options.length_penalty, "-10 to 10");
  expect(options.coverage_penalty >= 0, "coverage_penalty", options.coverage_penalty, "0 or more");
  expect(options.repetition_penalty > 0, "repetition_penalty", options.repetition_penalty, "a number above 0");
  expect_least("no_repeat_ngram_size", options.no_repeat_ngram_size, 0);
  expect_least("max_decoding_length", options.max_decoding_length, 0);
  expect_least("min_decoding_length", options.min_decoding_length, 0);
  check(options.limits.has_value() || options.min_decoding_length <= options.max_decoding_length, where,
        ": min_decoding_length is ", options.min_decoding_length, ", expected at most max_decoding_length, which is ",
        options.max_decoding_length);
  expect(options.max_length_a >= 0, "max_length_a", options.max_length_a, "0 or more");
  expect_least("max_length_b", options.max_length_b, 0);
  expect_least("sampling_topk", options.sampling_topk, 0);
  expect(options.sampling_topp > 0 && options.sampling_topp <= 1, "sampling_topp", options.sampling_topp,
         "above 0, at most 1");
  expect(options.sampling_temperature >= 0, "sampling_temperature", options.sampling_temperature, "0 or more");
  expect_least("first_sentence", options.first_sentence, 0);
  expect_least("max_batch_size", options.max_batch_size, 0);
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
