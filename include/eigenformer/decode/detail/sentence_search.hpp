// The search of one sentence: its hypotheses, running and finished. It receives tokens that were chosen from the
// logits, never the logits themselves.
#pragma once

#include <algorithm>
#include <span>
#include <vector>

#include "eigenformer/decode/hypothesis.hpp"
#include "eigenformer/decode/length_penalty.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

/// A candidate for the next token of a running hypothesis, or a token drawn for it.
struct Choice {
  Token token = 0;
  double log_probability = 0;
  Index hypothesis = 0;  // index of the running hypothesis in its sentence
  Index number = 0;      // of the sample, if the search samples
  double total = 0;      // log_probability plus that of the hypothesis
};

/// An unfinished hypothesis. Its tokens are a path through the sentence's nodes.
struct RunningHypothesis {
  Index node = -1;  // the last token; -1: none yet
  double log_probability = 0;
  Index parent = 0;  // index of its parent in the previous step, within the sentence
  Index number = 0;  // of the sample; selects its random numbers
};

/// The hypotheses of one sentence. Tokens are nodes of a tree, so hypotheses share their prefixes. `begin` reuses the
/// object for another sentence and keeps its memory.
class SentenceSearch {
 public:
  void begin(Index sentence, Index limit, std::span<const Token> prefix) {
    sentence_ = sentence;
    limit_ = limit;
    prefix_ = prefix.first(std::min<std::size_t>(prefix.size(), static_cast<std::size_t>(limit)));
    length_ = finished_count_ = source_tokens_ = 0;
    nodes_.clear();
    alignments_.clear();
    finished_.clear();
    running_.assign(1, {});
    expanded_ = false;
  }

  Index sentence() const { return sentence_; }
  Index length() const { return length_; }
  std::span<const RunningHypothesis> running() const { return running_; }
  /// Returns the last token of a running hypothesis, or `begin` before the first step.
  Token last_token(const RunningHypothesis& hypothesis, Token begin) const {
    return hypothesis.node < 0 ? begin : nodes_[static_cast<std::size_t>(hypothesis.node)].token;
  }
  bool is_forced() const { return length_ < static_cast<Index>(prefix_.size()); }
  Token forced_token() const { return prefix_[static_cast<std::size_t>(length_)]; }
  /// Returns the number of samples to draw from each running hypothesis: num_hypotheses in the first step after the
  /// prefix, then 1.
  Index draws(const DecodingOptions& options) const { return expanded_ ? 1 : options.num_hypotheses; }

  /// Writes the tokens of a running hypothesis.
  void tokens_of(const RunningHypothesis& hypothesis, std::vector<Token>& tokens) const {
    tokens.resize(static_cast<std::size_t>(length_));
    Index node = hypothesis.node;
    for (auto token = tokens.rbegin(); token != tokens.rend(); ++token) {
      *token = nodes_[static_cast<std::size_t>(node)].token;
      node = nodes_[static_cast<std::size_t>(node)].parent;
    }
  }

  /// Stores the weights with which a running hypothesis attends to the source in this step. Call it for all running
  /// hypotheses in order, before one of the `advance` functions. first: whether this is the first hypothesis.
  void add_alignment(std::span<const float> weights, bool first) {
    if (first) step_alignments_ = alignments_.size();
    source_tokens_ = static_cast<Index>(weights.size());
    alignments_.insert(alignments_.end(), weights.begin(), weights.end());
  }

  /// Appends a token of the prefix to the only running hypothesis.
  void advance_forced(const DecodingOptions& options) {
    const Choice choice{.token = forced_token(), .total = running_.front().log_probability};
    advance_each({&choice, 1}, options);
  }

  /// Appends one token to each hypothesis: greedy search and sampling. choices: at most one for each running
  /// hypothesis, or all samples of the first.
  void advance_each(std::span<const Choice> choices, const DecodingOptions& options) {
    const bool forced = is_forced(), last = length_ + 1 == limit_;
    next_.clear();
    for (const Choice& choice : choices) {
      const bool ended = !forced && options.end_token.contains(choice.token);
      bool stops = ended || last;
      if (options.callback != nullptr)
        stops |= options.callback({.sentence = options.first_sentence + sentence_,
                                   .hypothesis = choice.number,
                                   .step = length_,
                                   .token = choice.token,
                                   .log_probability = choice.log_probability,
                                   .is_last = stops});
      const RunningHypothesis next = append(choice);
      if (stops)
        finish(next, ended, length_ + 1, options);
      else
        next_.push_back(next);
    }
    if (!forced) expanded_ = true;
    std::swap(running_, next_);
    ++length_;
  }

  /// Continues with the best choices: beam search. choices: the best of all hypotheses, best first. They must hold
  /// beam_size choices that are not end tokens, if there are so many.
  void advance_beam(std::span<const Choice> choices, const DecodingOptions& options) {
    const bool last = length_ + 1 == limit_;
    next_.clear();
    for (std::size_t k = 0; k < choices.size(); ++k) {
      const bool ended = options.end_token.contains(choices[k].token);
      const bool in_beam = static_cast<Index>(k) < options.beam_size;
      if (ended || last) {
        if (in_beam) finish(append(choices[k]), ended, length_ + 1, options);
      } else if (static_cast<Index>(next_.size()) < options.beam_size) {
        next_.push_back(append(choices[k]));
      }
    }
    std::swap(running_, next_);
    ++length_;
    if (!running_.empty() && is_decided(options)) running_.clear();
  }

  /// Finishes a running hypothesis that no token may follow. Call it before one of the `advance` functions.
  void cut_off(Index hypothesis, const DecodingOptions& options) {
    finish(running_[static_cast<std::size_t>(hypothesis)], false, length_, options);
  }

  bool is_done() const { return running_.empty(); }

  /// Writes the best hypotheses, best first. A sentence whose limit is 0 has one hypothesis, without tokens.
  void write_results(std::vector<Hypothesis>& results, const DecodingOptions& options) const {
    const auto count = std::min<std::size_t>(finished_.size(), static_cast<std::size_t>(options.num_hypotheses));
    results.clear();
    results.resize(std::max<std::size_t>(count, 1));
    for (std::size_t i = 0; i < count; ++i) write(finished_[i], results[i], options);
  }

 private:
  struct Node {
    Token token;
    Index parent;
    double log_probability;
    std::size_t alignment;  // index of its first weight in alignments_
  };
  struct FinishedHypothesis {
    Index node;
    double log_probability;
    double score;
    bool ended;  // the last node is an end token
  };

  RunningHypothesis append(const Choice& choice) {
    const RunningHypothesis& parent = running_[static_cast<std::size_t>(choice.hypothesis)];
    nodes_.push_back({choice.token, parent.node, choice.log_probability,
                      step_alignments_ + static_cast<std::size_t>(choice.hypothesis * source_tokens_)});
    return {static_cast<Index>(nodes_.size()) - 1, choice.total, choice.hypothesis, choice.number};
  }

  /// steps: the number of nodes of the hypothesis.
  void finish(const RunningHypothesis& hypothesis, bool ended, Index steps, const DecodingOptions& options) {
    const Index tokens = steps - (ended ? 1 : 0);
    FinishedHypothesis finished{hypothesis.node, hypothesis.log_probability, 0, ended};
    finished.score =
        hypothesis.log_probability / length_penalty(options.length_penalty_type, options.length_penalty, tokens);
    if (options.coverage_penalty != 0) finished.score += coverage_penalty_of(finished, options);
    // Equal scores keep the order in which hypotheses finished.
    const auto place =
        std::upper_bound(finished_.begin(), finished_.end(), finished,
                         [](const FinishedHypothesis& a, const FinishedHypothesis& b) { return a.score > b.score; });
    finished_.insert(place, finished);
    ++finished_count_;
    const Index kept = std::max<Index>(options.max_candidates(), options.num_hypotheses);
    if (static_cast<Index>(finished_.size()) > kept) finished_.pop_back();
  }

  double coverage_penalty_of(const FinishedHypothesis& hypothesis, const DecodingOptions& options) {
    coverage_.assign(static_cast<std::size_t>(source_tokens_), 0);
    for (Index node = tokens_end(hypothesis); node >= 0; node = nodes_[static_cast<std::size_t>(node)].parent)
      for (std::size_t j = 0; j < coverage_.size(); ++j)
        coverage_[j] += static_cast<double>(alignments_[nodes_[static_cast<std::size_t>(node)].alignment + j]);
    return coverage_penalty(options.coverage_penalty,
                            Eigen::Map<const Eigen::ArrayXd>(coverage_.data(), source_tokens_));
  }

  /// Returns the last node before the end token.
  Index tokens_end(const FinishedHypothesis& hypothesis) const {
    return hypothesis.ended ? nodes_[static_cast<std::size_t>(hypothesis.node)].parent : hypothesis.node;
  }

  /// Returns whether the results cannot change any more, or early_stopping ends the search.
  bool is_decided(const DecodingOptions& options) const {
    const double best = running_.front().log_probability;
    const auto score_at = [&](Index length) {
      return best / length_penalty(options.length_penalty_type, options.length_penalty, length);
    };
    const auto finished = static_cast<Index>(finished_.size());
    // The log-probability of a growing hypothesis never rises, and a coverage penalty is at most 0.
    const double bound = score_at(options.length_penalty > 0 ? limit_ : length_);
    if (finished >= options.num_hypotheses &&
        finished_[static_cast<std::size_t>(options.num_hypotheses) - 1].score >= bound)
      return true;
    const Index wanted = options.max_candidates();
    if (options.early_stopping == BeamStopping::never || finished_count_ < wanted) return false;
    return options.early_stopping == BeamStopping::always ||
           finished_[static_cast<std::size_t>(wanted) - 1].score >= score_at(length_);
  }

  void write(const FinishedHypothesis& finished, Hypothesis& result, const DecodingOptions& options) const {
    result.log_probability = finished.log_probability;
    result.score = finished.score;
    result.ended = finished.ended;
    for (Index node = finished.node; node >= 0; node = nodes_[static_cast<std::size_t>(node)].parent)
      result.token_log_probabilities.push_back(nodes_[static_cast<std::size_t>(node)].log_probability);
    std::reverse(result.token_log_probabilities.begin(), result.token_log_probabilities.end());
    const auto tokens = static_cast<Index>(result.token_log_probabilities.size()) - (finished.ended ? 1 : 0);
    result.tokens.resize(static_cast<std::size_t>(tokens));
    if (options.return_attention) result.alignments.resize(tokens, source_tokens_);
    Index node = tokens_end(finished);
    for (Index i = tokens - 1; i >= 0; --i) {
      const Node& of_token = nodes_[static_cast<std::size_t>(node)];
      result.tokens[static_cast<std::size_t>(i)] = of_token.token;
      if (options.return_attention)
        result.alignments.row(i) = ConstMatrixMap<float>(alignments_.data() + of_token.alignment, 1, source_tokens_);
      node = of_token.parent;
    }
  }

  Index sentence_ = 0, limit_ = 0, length_ = 0, finished_count_ = 0, source_tokens_ = 0;
  std::span<const Token> prefix_;
  bool expanded_ = false;  // each sample has its own hypothesis
  std::vector<Node> nodes_;
  std::vector<float> alignments_;    // rows of source_tokens_ weights
  std::size_t step_alignments_ = 0;  // where the weights of the current step begin
  std::vector<RunningHypothesis> running_, next_;
  std::vector<FinishedHypothesis> finished_;  // best first
  std::vector<double> coverage_;
};

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
