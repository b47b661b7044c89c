// A toy model for tests of the searches, and naive searches of it in plain loops: brute force over all sequences, and
// beam search.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <span>
#include <vector>

#include "eigenformer/core/rng.hpp"
#include "eigenformer/decode/beam_search.hpp"

namespace eigenformer::testing {

/// Random logits and alignments that depend on the sentence and on the last two tokens.
struct ToyModel {
  Index vocabulary = 5;
  std::uint64_t seed = 1;
  double scale = 1.5;

  Rng rng_at(Index sentence, std::span<const Token> tokens, std::uint64_t kind) const {
    const std::size_t n = tokens.size();
    const std::uint64_t last = n > 0 ? static_cast<std::uint64_t>(tokens[n - 1]) + 1 : 0;
    const std::uint64_t before = n > 1 ? static_cast<std::uint64_t>(tokens[n - 2]) + 1 : 0;
    return Rng(RandomKey{seed, ((static_cast<std::uint64_t>(sentence) * 64 + before) * 64 + last) * 2 + kind});
  }
  std::vector<double> logits(Index sentence, std::span<const Token> tokens) const {
    Rng rng = rng_at(sentence, tokens, 0);
    std::vector<double> row(static_cast<std::size_t>(vocabulary));
    for (double& logit : row) logit = scale * rng.normal();
    return row;
  }
  Index source_tokens(Index sentence) const { return 2 + sentence % 3; }
  /// The weights of the token that follows `tokens`.
  std::vector<double> alignment(Index sentence, std::span<const Token> tokens) const {
    Rng rng = rng_at(sentence, tokens, 1);
    std::vector<double> weights(static_cast<std::size_t>(source_tokens(sentence)));
    double sum = 0;
    for (double& weight : weights) sum += weight = std::exp(2 * rng.normal());
    for (double& weight : weights) weight = static_cast<float>(weight / sum);
    return weights;
  }
  /// A sentence's source names the sentence.
  Tokens sources(Index sentences) const {
    std::vector<std::vector<Token>> all;
    for (Index i = 0; i < sentences; ++i)
      all.emplace_back(static_cast<std::size_t>(source_tokens(i)), static_cast<Token>(i));
    return Tokens::of(all);
  }
};

/// The toy model as a step function. Checks what it is asked.
struct ToyStep {
  const ToyModel& model;
  std::vector<Index> sentence_of = {};  // of each hypothesis of the last step, then of added sentences
  std::vector<std::vector<Token>> tokens_of = {};
  bool records = false, begun = false;
  Index steps = 0, most_rows = 0;

  ToyStep(const ToyModel& toy, Index sentences) : model(toy), tokens_of(static_cast<std::size_t>(sentences)) {
    for (Index i = 0; i < sentences; ++i) sentence_of.push_back(i);
  }
  ToyStep(const ToyModel& toy, const Tokens& sources) : model(toy) { insert(sources); }

  void insert(const Tokens& sources) {
    for (Index i = 0; i < sources.sequences(); ++i) {
      sentence_of.push_back(sources[i][0]);
      tokens_of.emplace_back();
    }
  }

  Matrix<double> operator()(std::span<const Index> parents, std::span<const Token> tokens) {
    std::vector<Index> next_sentence;
    std::vector<std::vector<Token>> next_tokens;
    Matrix<double> logits(static_cast<Index>(parents.size()), model.vocabulary);
    for (std::size_t i = 0; i < parents.size(); ++i) {
      const auto parent = static_cast<std::size_t>(parents[i]);
      if (parents[i] < 0 || parent >= sentence_of.size()) fail("ToyStep: there is no parent ", parents[i]);
      next_sentence.push_back(sentence_of[parent]);
      next_tokens.push_back(tokens_of[parent]);
      next_tokens.back().push_back(tokens[i]);
      if (next_tokens.back().front() != 1) fail("ToyStep: a sentence does not begin with the begin token");
      const std::vector<double> row = model.logits(next_sentence.back(), after_begin(next_tokens.back()));
      logits.row(static_cast<Index>(i)) = Eigen::Map<const Eigen::RowVectorXd>(row.data(), model.vocabulary);
    }
    sentence_of = next_sentence;
    tokens_of = next_tokens;
    begun = true;
    ++steps;
    most_rows = std::max<Index>(most_rows, logits.rows());
    return logits;
  }
  void record_alignments(bool on) {
    if (begun) fail("ToyStep: record_alignments was called after the first step");
    records = on;
  }
  Eigen::RowVectorXd alignment(Index i) const {
    if (!records) fail("ToyStep: alignments are not recorded");
    const auto h = static_cast<std::size_t>(i);
    const std::vector<double> weights = model.alignment(sentence_of[h], after_begin(tokens_of[h]));
    return Eigen::Map<const Eigen::RowVectorXd>(weights.data(), static_cast<Index>(weights.size()));
  }

 private:
  static std::span<const Token> after_begin(const std::vector<Token>& tokens) { return std::span(tokens).subspan(1); }
};

/// A toy step to which sentences can be added.
struct GrowingToyStep : ToyStep {
  using ToyStep::ToyStep;
  Index additions = 0;
  void add(const Tokens& sources) {
    insert(sources);
    ++additions;
  }
};

// --- Naive references ---

/// Returns the log-probabilities of the next token under the options. Forbidden tokens have minus infinity; if no token
/// is allowed, all have.
inline std::vector<double> naive_log_probabilities(const ToyModel& model, Index sentence,
                                                   const std::vector<Token>& tokens, const DecodingOptions& options) {
  constexpr double infinity = std::numeric_limits<double>::infinity();
  std::vector<double> row = model.logits(sentence, tokens);
  for (const Token token : std::set<Token>(tokens.begin(), tokens.end())) {
    double& logit = row[static_cast<std::size_t>(token)];
    logit = logit > 0 ? logit / options.repetition_penalty : logit * options.repetition_penalty;
  }
  for (Token next = 0; next < static_cast<Token>(row.size()); ++next) {
    std::vector<Token> all = tokens;
    all.push_back(next);
    bool forbidden =
        options.end_token.contains(next) && static_cast<Index>(tokens.size()) < options.min_decoding_length;
    forbidden |= options.disable_unk && next == options.unk_token;
    for (const Token token : options.suppress_tokens) forbidden |= token == next;
    for (const std::vector<Token>& sequence : options.suppress_sequences)
      forbidden |= !sequence.empty() && all.size() >= sequence.size() &&
                   std::vector<Token>(all.end() - static_cast<std::ptrdiff_t>(sequence.size()), all.end()) == sequence;
    const auto n = static_cast<std::size_t>(options.no_repeat_ngram_size);
    if (n > 0)
      for (std::size_t i = 0; i + n < all.size(); ++i)
        forbidden |=
            std::equal(all.begin() + static_cast<std::ptrdiff_t>(i), all.begin() + static_cast<std::ptrdiff_t>(i + n),
                       all.end() - static_cast<std::ptrdiff_t>(n));
    if (forbidden) row[static_cast<std::size_t>(next)] = -infinity;
  }
  for (const LogitsProcessor& processor : options.processors) processor({sentence, tokens}, row);
  const double largest = *std::max_element(row.begin(), row.end());
  if (largest == -infinity) return row;
  double sum = 0;
  for (const double logit : row) sum += std::exp(logit - largest);
  for (double& logit : row) logit -= largest + std::log(sum);
  return row;
}

/// Returns the score of Wu et al. 2016, equation 14, or CTranslate2's.
inline double naive_score(const ToyModel& model, Index sentence, const Hypothesis& hypothesis,
                          const DecodingOptions& options) {
  const double length = hypothesis.tokens.empty() ? 1 : static_cast<double>(hypothesis.tokens.size());
  const double divisor = options.length_penalty_type == LengthPenalty::gnmt
                             ? std::pow(5 + length, options.length_penalty) / std::pow(6, options.length_penalty)
                             : std::pow(length, options.length_penalty);
  double score = hypothesis.log_probability / divisor;
  for (Index j = 0; j < model.source_tokens(sentence); ++j) {
    double coverage = 0;
    for (std::size_t i = 0; i < hypothesis.tokens.size(); ++i)
      coverage += model.alignment(sentence, std::span(hypothesis.tokens).first(i))[static_cast<std::size_t>(j)];
    if (coverage > 0) score += options.coverage_penalty * std::log(std::min(coverage, 1.0));
  }
  return score;
}

/// Returns all hypotheses that may extend `begun`, which has not ended.
inline std::vector<Hypothesis> all_hypotheses(const ToyModel& model, Index sentence, const Hypothesis& begun,
                                              const DecodingOptions& options, Index limit) {
  const std::size_t length = begun.tokens.size();
  std::vector<Hypothesis> all;
  const auto extend = [&](Token token, double log_probability) {
    Hypothesis next = begun;
    next.log_probability += log_probability;
    next.token_log_probabilities.push_back(log_probability);
    next.tokens.push_back(token);
    return next;
  };
  if (static_cast<Index>(length) == limit) return {begun};
  const std::vector<Token>* prefix =
      options.target_prefix.empty() ? nullptr : &options.target_prefix[static_cast<std::size_t>(sentence)];
  if (prefix != nullptr && length < prefix->size())
    return all_hypotheses(model, sentence, extend((*prefix)[length], 0), options, limit);
  const std::vector<double> row = naive_log_probabilities(model, sentence, begun.tokens, options);
  for (Token token = 0; token < static_cast<Token>(row.size()); ++token) {
    if (std::isinf(row[static_cast<std::size_t>(token)])) continue;
    Hypothesis next = extend(token, row[static_cast<std::size_t>(token)]);
    if (options.end_token.contains(token)) {
      next.tokens.pop_back();
      next.ended = true;
      all.push_back(next);
      continue;
    }
    for (Hypothesis& hypothesis : all_hypotheses(model, sentence, next, options, limit)) all.push_back(hypothesis);
  }
  if (all.empty()) all.push_back(begun);  // no token may follow
  return all;
}

inline void naive_sort(std::vector<Hypothesis>& hypotheses, Index count) {
  std::stable_sort(hypotheses.begin(), hypotheses.end(),
                   [](const Hypothesis& a, const Hypothesis& b) { return a.score > b.score; });
  if (static_cast<Index>(hypotheses.size()) > count) hypotheses.resize(static_cast<std::size_t>(count));
}

/// Returns the best hypotheses of all.
inline std::vector<Hypothesis> brute_force(const ToyModel& model, Index sentence, const DecodingOptions& options,
                                           Index limit) {
  std::vector<Hypothesis> all = all_hypotheses(model, sentence, {}, options, limit);
  for (Hypothesis& hypothesis : all) hypothesis.score = naive_score(model, sentence, hypothesis, options);
  naive_sort(all, options.num_hypotheses);
  return all;
}

/// Returns the best hypotheses that beam search finds: Graves 2012 and Wu et al. 2016 for the beam, Kasai et al. 2022
/// for patience, Hugging Face's documentation for early_stopping.
inline std::vector<Hypothesis> naive_beam_search(const ToyModel& model, Index sentence, const DecodingOptions& options,
                                                 Index limit) {
  const auto beam = static_cast<std::size_t>(options.beam_size);
  const auto wanted = static_cast<std::size_t>(
      std::max(1.0, std::floor(static_cast<double>(options.beam_size) * options.patience + 0.5)));
  std::vector<Hypothesis> running(1), finished;
  std::size_t count = 0;
  const auto finish = [&](Hypothesis hypothesis, bool ended) {
    hypothesis.ended = ended;
    if (ended) hypothesis.tokens.pop_back();
    hypothesis.score = naive_score(model, sentence, hypothesis, options);
    finished.push_back(hypothesis);
    ++count;
  };
  if (limit == 0) return running;
  const std::vector<Token> prefix =
      options.target_prefix.empty() ? std::vector<Token>{} : options.target_prefix[static_cast<std::size_t>(sentence)];
  for (Index length = 0; length < limit && !running.empty(); ++length) {
    const bool forced = length < static_cast<Index>(prefix.size());
    std::vector<Hypothesis> candidates;
    for (const Hypothesis& hypothesis : running) {
      std::vector<double> row;
      if (forced) {
        row.assign(static_cast<std::size_t>(model.vocabulary), -std::numeric_limits<double>::infinity());
        row[static_cast<std::size_t>(prefix[static_cast<std::size_t>(length)])] = 0;
      } else {
        row = naive_log_probabilities(model, sentence, hypothesis.tokens, options);
      }
      bool is_dead = true;
      for (Token token = 0; token < static_cast<Token>(row.size()); ++token) {
        if (std::isinf(row[static_cast<std::size_t>(token)])) continue;
        is_dead = false;
        candidates.push_back(hypothesis);
        candidates.back().tokens.push_back(token);
        candidates.back().token_log_probabilities.push_back(row[static_cast<std::size_t>(token)]);
        candidates.back().log_probability += row[static_cast<std::size_t>(token)];
      }
      if (is_dead) finish(hypothesis, false);
    }
    std::stable_sort(candidates.begin(), candidates.end(),
                     [](const Hypothesis& a, const Hypothesis& b) { return a.log_probability > b.log_probability; });
    running.clear();
    for (std::size_t k = 0; k < candidates.size(); ++k) {
      const bool ended = !forced && options.end_token.contains(candidates[k].tokens.back());
      if ((ended || length + 1 == limit) && k < beam) finish(candidates[k], ended);
      if (!ended && length + 1 < limit && running.size() < beam) running.push_back(candidates[k]);
    }
    std::vector<Hypothesis> best = finished;
    naive_sort(best, static_cast<Index>(wanted));
    if (count < wanted || running.empty()) continue;
    if (options.early_stopping == BeamStopping::always) break;
    Hypothesis front = running.front();
    DecodingOptions uncovered = options;
    uncovered.coverage_penalty = 0;
    if (options.early_stopping == BeamStopping::heuristic &&
        best.back().score >= naive_score(model, sentence, front, uncovered))
      break;
  }
  naive_sort(finished, options.num_hypotheses);
  return finished;
}

}  // namespace eigenformer::testing
