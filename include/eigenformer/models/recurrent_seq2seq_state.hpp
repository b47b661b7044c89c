// Step-by-step decoding of a recurrent sequence-to-sequence model.
#pragma once

#include <numeric>
#include <span>
#include <vector>

#include "eigenformer/core/detail/compiled.hpp"
#include "eigenformer/models/recurrent_seq2seq.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// Step function for the searches in decode/. Stores the decoder states of each hypothesis and, with input feeding, its
/// last output.
template <class Scalar>
class RecurrentSeq2SeqState {
 public:
  /// Encodes the sentences. The model must outlive the state. Throws if the context has a tape.
  RecurrentSeq2SeqState(const RecurrentSeq2Seq<Scalar>& model, const Tokens& source,
                        const Context<Scalar>& context = {});

  Index vocabulary_size() const { return model_.options.target_vocabulary_size; }

  /// Appends tokens[i] to hypothesis parents[i] of the previous step (in the first step: to sentence parents[i]); the
  /// result is hypothesis i of this step. Returns the logits of the next tokens: [hypotheses x vocabulary size]. Throws
  /// if a parent or token does not exist.
  Matrix<Scalar> operator()(std::span<const Index> parents, std::span<const Token> tokens);

 private:
  const RecurrentSeq2Seq<Scalar>& model_;
  Context<Scalar> context_;
  EncodedSource<Scalar> source_;
  Variable<Scalar> keys_;         // attention keys of the memory, if options.context is attention
  std::vector<Index> sentences_;  // sentence of each hypothesis
  std::vector<Variable<Scalar>> states_;
  Variable<Scalar> fed_;
};

template <class Scalar>
RecurrentSeq2SeqState<Scalar>::RecurrentSeq2SeqState(const RecurrentSeq2Seq<Scalar>& model, const Tokens& source,
                                                     const Context<Scalar>& context)
    : model_(model), context_(context) {
  check(context.tape == nullptr, "RecurrentSeq2SeqState: the context has a tape; decoding records nothing");
  source_ = model.encode(context, source);
  if (model.options.context == SourceContext::attention) keys_ = model.attention.keys(context, source_.memory);
  sentences_.resize(static_cast<std::size_t>(source_.rows.sequences()));
  std::iota(sentences_.begin(), sentences_.end(), Index{0});
  states_ = source_.states;
  fed_ = Matrix<Scalar>(Matrix<Scalar>::Zero(source_.rows.sequences(), model.options.hidden));
}

template <class Scalar>
Matrix<Scalar> RecurrentSeq2SeqState<Scalar>::operator()(std::span<const Index> parents,
                                                         std::span<const Token> tokens) {
  check(parents.size() == tokens.size(), "RecurrentSeq2SeqState: ", parents.size(), " parents and ", tokens.size(),
        " tokens, expected as many");
  std::vector<Index> sentences, memory_index, memory_lengths;
  for (const Index parent : parents) {
    check(parent >= 0 && parent < static_cast<Index>(sentences_.size()), "RecurrentSeq2SeqState: parent ", parent,
          " is asked for, there are ", sentences_.size());
    const Index sentence = sentences_[static_cast<std::size_t>(parent)], length = source_.rows.length(sentence);
    sentences.push_back(sentence);
    memory_lengths.push_back(length);
    for (Index row = 0; row < length; ++row) memory_index.push_back(source_.rows.begin(sentence) + row);
  }
  const auto rows = RowOffsets::from_lengths(std::vector<Index>(parents.size(), 1));
  const Variable<Scalar> embedded = model_.embed_target(context_, tokens);
  std::vector<Variable<Scalar>> states;
  for (const Variable<Scalar>& state : states_) states.push_back(gather_rows(context_, state, parents));
  Variable<Scalar> summary, fed;
  if (model_.options.context == SourceContext::every_step) summary = gather_rows(context_, source_.summary, sentences);
  if (model_.feeds_input()) fed = gather_rows(context_, fed_, parents);
  const IndexedKeys seen{
      .query_rows = rows, .key_rows = RowOffsets::from_lengths(memory_lengths), .key_index = memory_index};
  const auto attend = [&](const Variable<Scalar>& h) {
    return model_.attention.attend_by_index(context_, h, keys_, source_.memory, seen);
  };
  RecurrentResult<Scalar> result = model_.steps(context_,
                                                {.embedded = embedded,
                                                 .rows = rows,
                                                 .states = std::move(states),
                                                 .summary = std::move(summary),
                                                 .fed = std::move(fed)},
                                                attend);
  sentences_ = std::move(sentences);
  states_ = std::move(result.states);
  fed_ = result.output;
  return model_.logits(context_, result.output).value();
}

/// Encodes the sentences and returns the model's step function for decoding them.
template <class Scalar>
RecurrentSeq2SeqState<Scalar> decoding_state(const RecurrentSeq2Seq<Scalar>& model, const Tokens& source,
                                             const Context<Scalar>& context = {}) {
  return RecurrentSeq2SeqState<Scalar>(model, source, context);
}

EIGENFORMER_TEMPLATE(class RecurrentSeq2SeqState);

}  // namespace eigenformer::inline EIGENFORMER_ABI
