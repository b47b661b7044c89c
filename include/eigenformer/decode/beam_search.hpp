// Beam search over any step function or model: batched, with n-best lists, penalties and constraints. With beam_size 1
// it is greedy search or sampling. See DecodingOptions.
#pragma once

#include <concepts>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "eigenformer/autograd/context.hpp"
#include "eigenformer/decode/detail/source_queue.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// A step function. See hypothesis.hpp.
template <class Step>
concept DecodingStep = requires(Step& step, std::span<const Index> parents, std::span<const Token> tokens) {
  step(parents, tokens).rows();
  step(parents, tokens).cols();
};

namespace detail {

/// Decodes the sentences of a step function. where: begins error messages.
template <class Step>
std::vector<std::vector<Hypothesis>> search_step(Step& step, Index sentences, const DecodingOptions& options,
                                                 const char* where) {
  const std::vector<SentencePlan> plans = plan_sentences(sentences, {}, options, where);
  std::vector<std::vector<Hypothesis>> results(plans.size());
  StepReference any_step(step);
  BatchSearch<typename StepReference<Step>::Scalar> search(options, where, results);
  search.run(any_step, plans, [](Index) { return std::span<const SentencePlan>(); });
  return results;
}

}  // namespace detail

/// Returns the best hypotheses of each sentence, best first: at most options.num_hypotheses, at least one. Decodes
/// `sentences` sequences at once. Sequences that are done leave the batch. No sequence has more tokens than
/// step.max_tokens(), if the step has it. Ties go to the earlier hypothesis, then to the lower token number. Ignores
/// options.max_batch_size.
///
/// Throws if an option is out of range, if the step's logits have the wrong number of rows, or if a row has NaN,
/// infinity, or nothing but minus infinity.
///
///   TransformerState<float> step(model, source);
///   std::vector<std::vector<Hypothesis>> best = beam_search(step, source.sequences(), {.beam_size = 4});
template <DecodingStep Step>
std::vector<std::vector<Hypothesis>> beam_search(Step&& step, Index sentences, const DecodingOptions& options = {}) {
  return detail::search_step(step, sentences, options, "beam_search");
}

/// Returns the best hypotheses of each source sentence, in the order of the sources. At most options.max_batch_size
/// sentences are decoded at once. If the step function has `add`, waiting sentences take the places of finished ones.
/// Otherwise each batch has its own step function.
///
/// make_step(tokens): returns a step function for these Tokens. sources: as the model takes them, with end tokens.
/// Throws like the overload for a step function.
template <class MakeStep>
requires DecodingStep<std::invoke_result_t<MakeStep&, const Tokens&>> std::vector<std::vector<Hypothesis>> beam_search(
    MakeStep&& make_step, const Tokens& sources, const DecodingOptions& options = {}) {
  using Step = std::remove_cvref_t<std::invoke_result_t<MakeStep&, const Tokens&>>;
  detail::SourceQueue queue(sources, options, "beam_search");
  std::vector<std::vector<Hypothesis>> results(static_cast<std::size_t>(sources.sequences()));
  detail::BatchSearch<typename detail::StepReference<Step>::Scalar> search(options, "beam_search", results);
  constexpr bool can_add = requires(Step & step) {
    step.add(sources);
  };
  while (!queue.empty()) {
    const std::span<const detail::SentencePlan> first = queue.take(0),
                                                begin = can_add ? queue.first_part(first) : first;
    Step step = make_step(queue.tokens(begin));
    const auto add = [&](std::span<const detail::SentencePlan> plans) {
      if constexpr (can_add)
        while (!plans.empty()) {
          check(options.cancelled == nullptr || !options.cancelled(), "beam_search: cancelled");
          const std::span<const detail::SentencePlan> part = queue.first_part(plans);
          step.add(queue.tokens(part));
          plans = plans.subspan(part.size());
        }
    };
    add(first.subspan(begin.size()));
    detail::StepReference any_step(step);
    search.run(any_step, first, [&](Index active) {
      const std::span<const detail::SentencePlan> added =
          can_add ? queue.take(active) : std::span<const detail::SentencePlan>();
      add(added);
      return added;
    });
  }
  return results;
}

/// Decodes with a model that has a decoding_state: a Transformer or a RecurrentSeq2Seq. Returns the best hypotheses of
/// each source sentence, in the order of the sources. sources: with end tokens. context: without a tape; its threads
/// also search, unless options.threads is set. Throws like the overload for a step function, or if the context has a
/// tape.
template <template <class> class Model, class Scalar>
requires requires(const Model<Scalar>& model, const Tokens& sources, const Context<Scalar>& context) {
  decoding_state(model, sources, context);
}
std::vector<std::vector<Hypothesis>> beam_search(const Model<Scalar>& model, const Tokens& sources,
                                                 const DecodingOptions& options = {},
                                                 const std::type_identity_t<Context<Scalar>>& context = {}) {
  DecodingOptions with_threads = options;
  if (with_threads.threads == nullptr) with_threads.threads = context.threads;
  return beam_search([&](const Tokens& batch) { return decoding_state(model, batch, context); }, sources, with_threads);
}

/// Returns the best hypotheses of one sentence, best first. source: its tokens, with the end token. Throws like the
/// overload for many sentences.
///
///   for (const Hypothesis& hypothesis : beam_search(model, source, {.beam_size = 5, .num_hypotheses = 5}))
template <template <class> class Model, class Scalar>
requires requires(const Model<Scalar>& model, const Tokens& sources, const Context<Scalar>& context) {
  decoding_state(model, sources, context);
}
std::vector<Hypothesis> beam_search(const Model<Scalar>& model, std::span<const Token> source,
                                    const DecodingOptions& options = {},
                                    const std::type_identity_t<Context<Scalar>>& context = {}) {
  const Index length = static_cast<Index>(source.size());
  const Tokens sources{{source.begin(), source.end()}, RowOffsets{0, length}};
  return std::move(beam_search(model, sources, options, context).front());
}

/// Decodes with a Seq2Seq, or with another variant of models. Returns the best hypotheses of each source sentence, in
/// the order of the sources. Arguments and errors are those of the overload for one model.
template <template <class> class... Models, class Scalar>
std::vector<std::vector<Hypothesis>> beam_search(const std::variant<Models<Scalar>...>& model, const Tokens& sources,
                                                 const DecodingOptions& options = {},
                                                 const std::type_identity_t<Context<Scalar>>& context = {}) {
  return std::visit([&](const auto& network) { return beam_search(network, sources, options, context); }, model);
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
