// Step-by-step decoding of a Transformer with cached keys and values.
#pragma once

#include <limits>
#include <numeric>
#include <span>
#include <vector>

#include "eigenformer/core/detail/compiled.hpp"
#include "eigenformer/models/transformer.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// Step function for the searches in decode/. Caches the keys and values of all tokens so far.
///
/// A cache row holds one step of one hypothesis. A hypothesis is a list of row numbers: its ancestors' and its own.
/// Dropping, reordering or splitting hypotheses moves only row numbers.
template <class Scalar>
class TransformerState {
 public:
  /// Encodes the sentences. The model must outlive the state. Throws if the context has a tape.
  TransformerState(const Transformer<Scalar>& model, const Tokens& source, const Context<Scalar>& context = {});

  Index vocabulary_size() const { return model_.options.target_vocabulary_size; }
  /// Maximum number of steps: the number of learned positions; unlimited with other encodings.
  Index max_tokens() const {
    return model_.positions.encoding == PositionEncoding::learned ? model_.positions.weight.value.rows()
                                                                  : (std::numeric_limits<Index>::max)();
  }

  /// Appends tokens[i] to hypothesis parents[i] of the previous step (in the first step: to sentence parents[i]); the
  /// result is hypothesis i of this step. Returns the logits of the next tokens: [hypotheses x vocabulary size]. Throws
  /// if a parent or token does not exist.
  Matrix<Scalar> operator()(std::span<const Index> parents, std::span<const Token> tokens);

 private:
  struct Hypothesis {
    Index sentence;
    std::vector<Index> rows;  // cache rows, oldest first
  };

  const Transformer<Scalar>& model_;
  Context<Scalar> context_;
  RowOffsets source_rows_;
  std::vector<DecoderLayerCache<Scalar>> caches_;  // one per decoder layer
  std::vector<Hypothesis> hypotheses_;
  Index steps_ = 0;
};

template <class Scalar>
TransformerState<Scalar>::TransformerState(const Transformer<Scalar>& model, const Tokens& source,
                                           const Context<Scalar>& context)
    : model_(model),
      context_(context),
      source_rows_(source.rows.for_rows(static_cast<Index>(source.ids.size()), "TransformerState", "source")),
      caches_(model.decoder.layers.size()) {
  check(context.tape == nullptr, "TransformerState: the context has a tape; decoding records nothing");
  const Variable<Scalar> memory = model.encode(context, source);
  for (std::size_t i = 0; i < caches_.size(); ++i)
    model.decoder.layers[i].multihead_attn.append_to_cache(context, memory, caches_[i].memory);
  for (Index s = 0; s < source_rows_.sequences(); ++s) hypotheses_.push_back({s, {}});
}

template <class Scalar>
Matrix<Scalar> TransformerState<Scalar>::operator()(std::span<const Index> parents, std::span<const Token> tokens) {
  check(parents.size() == tokens.size(), "TransformerState: ", parents.size(), " parents and ", tokens.size(),
        " tokens, expected as many");
  const auto count = static_cast<Index>(parents.size());
  const Index first_row = caches_.empty() ? 0 : caches_.front().self.rows();
  std::vector<Hypothesis> next;
  const std::vector<Index> query_lengths(parents.size(), 1), query_offsets(parents.size(), steps_);
  std::vector<Index> self_index, self_lengths, memory_index, memory_lengths;
  for (Index i = 0; i < count; ++i) {
    const Index parent = parents[static_cast<std::size_t>(i)];
    check(parent >= 0 && parent < static_cast<Index>(hypotheses_.size()), "TransformerState: parent ", parent,
          " is asked for, there are ", hypotheses_.size());
    Hypothesis hypothesis = hypotheses_[static_cast<std::size_t>(parent)];
    hypothesis.rows.push_back(first_row + i);
    self_index.insert(self_index.end(), hypothesis.rows.begin(), hypothesis.rows.end());
    self_lengths.push_back(static_cast<Index>(hypothesis.rows.size()));
    const Index memory_length = source_rows_.length(hypothesis.sentence);
    memory_index.resize(memory_index.size() + static_cast<std::size_t>(memory_length));
    std::iota(memory_index.end() - memory_length, memory_index.end(), source_rows_.begin(hypothesis.sentence));
    memory_lengths.push_back(memory_length);
    next.push_back(std::move(hypothesis));
  }
  const RowOffsets query_rows = RowOffsets::from_lengths(query_lengths);
  const DecoderStepRows rows{
      .self = {.query_rows = query_rows, .key_rows = RowOffsets::from_lengths(self_lengths), .key_index = self_index},
      .memory = {.query_rows = query_rows,
                 .key_rows = RowOffsets::from_lengths(memory_lengths),
                 .key_index = memory_index,
                 .query_offsets = query_offsets}};
  Variable<Scalar> x = model_.embed(context_, model_.target_embedding_used(), tokens, query_rows, steps_);
  for (std::size_t i = 0; i < caches_.size(); ++i)
    x = model_.decoder.layers[i].step(context_, x, caches_[i], rows, model_.decoder.positions);
  if (!model_.decoder.norm.empty()) x = model_.decoder.norm(context_, x);
  hypotheses_ = std::move(next);
  ++steps_;
  return model_.logits(context_, x).value();
}

/// Encodes the sentences and returns the model's step function for decoding them.
template <class Scalar>
TransformerState<Scalar> decoding_state(const Transformer<Scalar>& model, const Tokens& source,
                                        const Context<Scalar>& context = {}) {
  return TransformerState<Scalar>(model, source, context);
}

EIGENFORMER_TEMPLATE(class TransformerState);

}  // namespace eigenformer::inline EIGENFORMER_ABI
