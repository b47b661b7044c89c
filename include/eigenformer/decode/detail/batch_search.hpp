// Searches many sentences at once, through one step function. Finished sentences leave, and others may join.
#pragma once

#include <algorithm>
#include <span>
#include <utility>
#include <vector>

#include "eigenformer/core/detail/compiled.hpp"
#include "eigenformer/core/function_ref.hpp"
#include "eigenformer/decode/detail/any_step.hpp"
#include "eigenformer/decode/detail/row_choices.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

/// A sentence to decode.
struct SentencePlan {
  Index sentence = 0;  // number in the caller's order
  Index limit = 0;     // maximum number of tokens
  Index size = 1;      // its share of max_batch_size
};

/// Returns a plan for each sentence. source_lengths: with end tokens; empty if unknown. Throws if the options do not
/// fit the sentences.
inline std::vector<SentencePlan> plan_sentences(Index sentences, std::span<const Index> source_lengths,
                                                const DecodingOptions& options, const char* where) {
  check_options(options, where);
  check(sentences >= 0, where, ": there are ", sentences, " sentences, expected 0 or more");
  if (options.limits.has_value())
    check(static_cast<Index>(options.limits->size()) == sentences, where, ": there are ", options.limits->size(),
          " limits, expected ", sentences, ", one per sentence");
  check(options.target_prefix.empty() || static_cast<Index>(options.target_prefix.size()) == sentences, where,
        ": there are ", options.target_prefix.size(), " target prefixes, expected ", sentences, ", one per sentence");
  check(options.max_length_a == 0 || sentences == 0 || !source_lengths.empty(), where,
        ": max_length_a needs the sources, given only a step function");
  std::vector<SentencePlan> plans(static_cast<std::size_t>(sentences));
  for (std::size_t i = 0; i < plans.size(); ++i) {
    SentencePlan& plan = plans[i];
    plan.sentence = static_cast<Index>(i);
    plan.limit = options.limits.has_value() ? (*options.limits)[i] : options.max_decoding_length;
    check(plan.limit >= 0, where, ": sentence ", i, " has the limit ", plan.limit, ", expected 0 or more");
    const Index source_length = source_lengths.empty() ? 0 : source_lengths[i];
    if (options.max_length_a != 0 || options.max_length_b != 0) {
      const double most =
          options.max_length_a * static_cast<double>(source_length) + static_cast<double>(options.max_length_b);
      if (most < static_cast<double>(plan.limit))
        plan.limit =
            std::max<Index>(static_cast<Index>(most), std::min<Index>(plan.limit, options.min_decoding_length));
    }
    if (options.batch_type == BatchType::tokens) plan.size = std::max<Index>(1, source_length);
  }
  return plans;
}

/// Returns how many choices a step needs so that beam_size of them continue, even if all end tokens rank first.
inline Index count_beam_choices(const DecodingOptions& options) {
  std::vector<Token> ends(options.end_token.begin(), options.end_token.end());
  std::sort(ends.begin(), ends.end());
  const Index distinct = std::unique(ends.begin(), ends.end()) - ends.begin();
  return (1 + distinct) * options.beam_size;
}

/// Searches a batch of sentences, and keeps its buffers. Scalar: the type in which logits are computed.
template <class Scalar>
class BatchSearch {
 public:
  /// where: begins error messages. results: one entry per sentence, in the caller's order.
  BatchSearch(const DecodingOptions& options, const char* where, std::vector<std::vector<Hypothesis>>& results)
      : options_(options), where_(where), results_(results), beam_choices_(count_beam_choices(options)) {}

  /// Adds sentences to the step, possibly none, and returns them. active: the total size of the unfinished sentences.
  using Refill = FunctionRef<std::span<const SentencePlan>(Index active)>;

  /// Decodes all sentences. first: the sentences that the step holds, in its order. refill: called before each step.
  void run(AnyStep<Scalar>& step, std::span<const SentencePlan> first, Refill refill);

 private:
  struct Slot {
    SentenceSearch search;
    Index first = 0;  // number of the sentence's first hypothesis in the last step
    Index size = 0;
  };
  struct Row {
    std::size_t slot;
    Index hypothesis;
    std::size_t first_choice = 0;
    Index choices = 0;  // number of choices; see choose_tokens
  };

  void start(std::span<const SentencePlan> plans, Index max_tokens, Index& known);
  void collect_rows();
  void read_alignments(AnyStep<Scalar>& step);
  void choose(const ConstMatrixRef<Scalar>& logits);
  void check_tokens(Index vocabulary);
  void advance();
  void advance(Slot& slot);

  const DecodingOptions& options_;
  const char* where_;
  std::vector<std::vector<Hypothesis>>& results_;
  Index beam_choices_;
  std::vector<Slot> slots_;
  std::vector<std::size_t> active_, free_;
  Index active_size_ = 0;
  std::vector<Index> parents_;
  std::vector<Token> tokens_;
  std::vector<Row> rows_;
  std::vector<Choice> choices_, merged_;
  std::vector<float> alignment_;
  std::vector<RowBuffers<Scalar>> buffers_;
  Index checked_vocabulary_ = -1;
};

template <class Scalar>
void BatchSearch<Scalar>::run(AnyStep<Scalar>& step, std::span<const SentencePlan> first, Refill refill) {
  if (options_.needs_alignments())
    check(step.record_alignments(), where_,
          ": return_attention and coverage_penalty need a step function with alignments");
  Index known = 0;  // number of hypotheses and sentences that the next step may continue
  start(first, step.max_tokens(), known);
  for (;;) {
    const std::span<const SentencePlan> added = refill(active_size_);
    start(added, step.max_tokens(), known);
    if (active_.empty() && added.empty()) return;
    if (active_.empty()) continue;
    check(options_.cancelled == nullptr || !options_.cancelled(), where_, ": cancelled");
    collect_rows();
    step.step(parents_, tokens_, [&](const ConstMatrixRef<Scalar>& logits) {
      check(logits.rows() == static_cast<Index>(rows_.size()), where_, ": the step gave logits ", shape(logits),
            ", expected ", rows_.size(), " rows");
      read_alignments(step);
      choose(logits);
    });
    known = static_cast<Index>(rows_.size());
    advance();
  }
}

/// Begins the search of sentences. The step numbers them known, known + 1, ...; adds their count to `known`.
template <class Scalar>
void BatchSearch<Scalar>::start(std::span<const SentencePlan> plans, Index max_tokens, Index& known) {
  for (const SentencePlan& plan : plans) {
    const Index limit = std::min<Index>(plan.limit, max_tokens);
    if (free_.empty()) {
      free_.push_back(slots_.size());
      slots_.emplace_back();
    }
    Slot& slot = slots_[free_.back()];
    slot.first = known++;
    slot.size = plan.size;
    const auto i = static_cast<std::size_t>(plan.sentence);
    slot.search.begin(plan.sentence, limit,
                      options_.target_prefix.empty() ? std::span<const Token>() : options_.target_prefix[i]);
    if (limit == 0) {
      slot.search.write_results(results_[i], options_);
      continue;
    }
    active_.push_back(free_.back());
    active_size_ += slot.size;
    free_.pop_back();
  }
}

/// Lists the running hypotheses of all sentences.
template <class Scalar>
void BatchSearch<Scalar>::collect_rows() {
  rows_.clear();
  parents_.clear();
  tokens_.clear();
  for (const std::size_t s : active_) {
    Slot& slot = slots_[s];
    const auto first = static_cast<Index>(rows_.size());
    for (const RunningHypothesis& hypothesis : slot.search.running()) {
      parents_.push_back(slot.first + hypothesis.parent);
      tokens_.push_back(slot.search.last_token(hypothesis, options_.begin_token));
      rows_.push_back({.slot = s, .hypothesis = static_cast<Index>(rows_.size()) - first});
    }
    slot.first = first;
  }
}

template <class Scalar>
void BatchSearch<Scalar>::read_alignments(AnyStep<Scalar>& step) {
  if (!options_.needs_alignments()) return;
  for (std::size_t i = 0; i < rows_.size(); ++i) {
    step.read_alignment(static_cast<Index>(i), alignment_);
    slots_[rows_[i].slot].search.add_alignment(alignment_, rows_[i].hypothesis == 0);
  }
}

template <class Scalar>
void BatchSearch<Scalar>::choose(const ConstMatrixRef<Scalar>& logits) {
  const Index vocabulary = logits.cols();
  check_tokens(vocabulary);
  const Index choices = options_.beam_size == 1 ? 1 : std::min<Index>(beam_choices_, vocabulary);
  std::size_t most_choices = 0;
  for (Row& row : rows_) {
    row.first_choice = most_choices;
    row.choices = options_.samples() ? slots_[row.slot].search.draws(options_) : choices;
    most_choices += static_cast<std::size_t>(row.choices);
  }
  choices_.resize(most_choices);
  const auto count = static_cast<Index>(rows_.size());
  constexpr Index max_tasks = 64;
  const Index grain = (count + max_tasks - 1) / max_tasks;
  buffers_.resize(static_cast<std::size_t>(max_tasks));
  Threads* const threads = options_.processors.empty() ? options_.threads : nullptr;
  parallel_for(threads, count, grain, [&](Index begin, Index end) {
    RowBuffers<Scalar>& buffers = buffers_[static_cast<std::size_t>(begin / grain)];
    for (Index i = begin; i < end; ++i) {
      Row& row = rows_[static_cast<std::size_t>(i)];
      const SentenceSearch& search = slots_[row.slot].search;
      const LogitsRow<Scalar> input{
          {row_begin(logits, i), static_cast<std::size_t>(vocabulary)}, search, row.hypothesis};
      if (search.is_forced()) {
        if (!has_finite_sum(input.logits)) row.choices = -1;
        continue;
      }
      row.choices = choose_tokens(input, options_, buffers,
                                  std::span(choices_).subspan(row.first_choice, static_cast<std::size_t>(row.choices)));
    }
  });
  for (const Row& row : rows_)
    check(row.choices >= 0, where_, ": the step's logits for sentence ", slots_[row.slot].search.sentence(),
          " are not finite");
}

/// Throws if a token among the options, or a forced one, is not in the vocabulary.
template <class Scalar>
void BatchSearch<Scalar>::check_tokens(Index vocabulary) {
  const auto check_token = [&](const char* name, Token token) {
    check(token >= 0 && token < vocabulary, where_, ": ", name, " is ", token, ", the vocabulary has ", vocabulary,
          " tokens");
  };
  if (vocabulary != checked_vocabulary_) {
    for (const Token token : options_.end_token) check_token("end_token", token);
    if (options_.disable_unk) check_token("unk_token", options_.unk_token);
    for (const Token token : options_.suppress_tokens) check_token("a token of suppress_tokens", token);
    for (const std::vector<Token>& sequence : options_.suppress_sequences)
      for (const Token token : sequence) check_token("a token of suppress_sequences", token);
    checked_vocabulary_ = vocabulary;
  }
  for (const std::size_t s : active_)
    if (slots_[s].search.is_forced()) check_token("a token of target_prefix", slots_[s].search.forced_token());
}

/// Continues all sentences with the chosen tokens. Writes the results of finished sentences.
template <class Scalar>
void BatchSearch<Scalar>::advance() {
  std::size_t kept = 0;
  for (const std::size_t s : active_) {
    Slot& slot = slots_[s];
    advance(slot);
    if (!slot.search.is_done()) {
      active_[kept++] = s;
      continue;
    }
    slot.search.write_results(results_[static_cast<std::size_t>(slot.search.sentence())], options_);
    active_size_ -= slot.size;
    free_.push_back(s);
  }
  active_.resize(kept);
}

template <class Scalar>
void BatchSearch<Scalar>::advance(Slot& slot) {
  SentenceSearch& search = slot.search;
  if (search.is_forced()) {
    search.advance_forced(options_);
    return;
  }
  merged_.clear();
  for (std::size_t h = 0; h < search.running().size(); ++h) {
    const Row& row = rows_[static_cast<std::size_t>(slot.first) + h];
    const auto begin = choices_.begin() + static_cast<std::ptrdiff_t>(row.first_choice);
    merged_.insert(merged_.end(), begin, begin + static_cast<std::ptrdiff_t>(row.choices));
    if (row.choices == 0) search.cut_off(static_cast<Index>(h), options_);
  }
  if (options_.beam_size == 1) {
    search.advance_each(merged_, options_);
    return;
  }
  // Ties go to the earlier hypothesis, then to the lower token.
  const auto before = [](const Choice& a, const Choice& b) {
    if (a.total != b.total) return a.total > b.total;
    return a.hypothesis != b.hypothesis ? a.hypothesis < b.hypothesis : a.token < b.token;
  };
  const auto wanted = std::min<std::size_t>(merged_.size(), static_cast<std::size_t>(beam_choices_));
  std::partial_sort(merged_.begin(), merged_.begin() + static_cast<std::ptrdiff_t>(wanted), merged_.end(), before);
  search.advance_beam(std::span(merged_).first(wanted), options_);
}

EIGENFORMER_TEMPLATE(class BatchSearch);

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
