// Step-by-step decoding of a recurrent sequence-to-sequence model.
#pragma once

#include <limits>
#include <memory>
#include <span>
#include <vector>

#include "eigenformer/core/detail/compiled.hpp"
#include "eigenformer/models/detail/step_arguments.hpp"
#include "eigenformer/models/hypothesis_rows.hpp"
#include "eigenformer/models/recurrent_seq2seq.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// Step function for the searches in decode/. Stores the decoder states of each hypothesis and, with input feeding, its
/// last output. The encoder's output and its attention keys are stored once per sentence, until the sentence has no
/// hypothesis left.
///
/// With packed weights (see Context::packed), a step allocates only if there are more hypotheses or longer sentences
/// than before.
///
/// A hypothesis's logits depend on its sentence and its tokens alone, bit for bit, not on the other hypotheses.
template <class Scalar>
class RecurrentSeq2SeqState {
 public:
  /// Encodes the sentences. The model, and what the context points to, must outlive the state. Uses the context's
  /// workspace, or one of its own. Throws if the context has a tape.
  RecurrentSeq2SeqState(const RecurrentSeq2Seq<Scalar>& model, const Tokens& source,
                        const Context<Scalar>& context = {});

  Index vocabulary_size() const { return model_.options.target_vocabulary_size; }
  /// Maximum number of steps of a sentence: unlimited.
  Index max_tokens() const { return (std::numeric_limits<Index>::max)(); }

  /// Encodes more sentences. Their numbers follow those of the previous step's hypotheses, or, before the first step,
  /// those of the sentences so far. The next step drops a sentence that is not among its parents.
  void add(const Tokens& source);

  /// Appends tokens[i] to hypothesis parents[i] of the previous step, or to a sentence that was added since. The result
  /// is hypothesis i of this step. In the first step, the parents are the sentences. Drops hypotheses that are not
  /// among the parents. Returns the logits of the next tokens, [hypotheses x vocabulary size], valid until the next
  /// step. Throws, before it changes anything, if a parent or token does not exist.
  ConstMatrixMap<Scalar> operator()(std::span<const Index> parents, std::span<const Token> tokens);

  /// Chooses whether steps record alignments. Throws after the first step, or if the model has no attention. While
  /// alignments are recorded, an observer in the context does not get the weights.
  void record_alignments(bool recorded);
  /// Returns the weights with which hypothesis i of the last step attended to its sentence: [1 x source tokens]. Throws
  /// if alignments are not recorded or there is no such hypothesis.
  Matrix<Scalar> alignment(Index i) const;

  /// The cache of the encoder's output and its attention keys. Without attention its sequences have no tokens.
  const KeyValueCache<Scalar>& memory_cache() const { return memory_; }

 private:
  bool attends() const { return model_.options.context == SourceContext::attention; }
  bool has_summaries() const { return model_.options.context == SourceContext::every_step; }
  // Returns the offsets of `count` sequences of one row each.
  RowOffsets one_row_each(Index count) {
    while (static_cast<Index>(offsets_.size()) <= count) offsets_.push_back(static_cast<Index>(offsets_.size()));
    return RowOffsets::view(std::span(offsets_).first(static_cast<std::size_t>(count) + 1));
  }

  const RecurrentSeq2Seq<Scalar>& model_;
  std::unique_ptr<Workspace> own_workspace_;
  Context<Scalar> context_;
  KeyValueCache<Scalar> memory_;                // a sequence for each hypothesis, and for each sentence added since
  std::vector<HypothesisRows<Scalar>> states_;  // of each decoder layer
  HypothesisRows<Scalar> summaries_, fed_;      // empty if the model has none
  std::vector<Index> offsets_;
  std::vector<Variable<Scalar>> spare_inputs_, spare_results_;  // empty; the next step reuses their memory
  Variable<Scalar> logits_;
  AttentionRecorder<Scalar> recorder_;
  bool records_ = false;
  bool has_begun_ = false;
};

template <class Scalar>
RecurrentSeq2SeqState<Scalar>::RecurrentSeq2SeqState(const RecurrentSeq2Seq<Scalar>& model, const Tokens& source,
                                                     const Context<Scalar>& context)
    : model_(model),
      own_workspace_(context.workspace == nullptr ? std::make_unique<Workspace>() : nullptr),
      context_(context),
      states_(static_cast<std::size_t>(model.options.num_decoder_layers)) {
  check(context.tape == nullptr, "RecurrentSeq2SeqState: the context has a tape; decoding records nothing");
  if (own_workspace_ != nullptr) context_.workspace = own_workspace_.get();
  add(source);
}

template <class Scalar>
void RecurrentSeq2SeqState<Scalar>::add(const Tokens& source) {
  const EncodedSource<Scalar> encoded = model_.encode(context_, source);
  const Index sentences = encoded.rows.sequences();
  if (attends()) {
    const Variable<Scalar> keys = model_.attention.keys(context_, encoded.memory);
    std::vector<Index> lengths(static_cast<std::size_t>(memory_.sequences()), 0);
    for (Index s = 0; s < sentences; ++s) lengths.push_back(encoded.rows.length(s));
    memory_.add(sentences);
    memory_.extend(lengths);
    memory_.write(0, keys.value(), encoded.memory.value());
  } else {
    memory_.add(sentences);
  }
  for (std::size_t i = 0; i < states_.size(); ++i) states_[i].append(encoded.states[i]);
  if (has_summaries()) summaries_.append(encoded.summary);
  if (model_.feeds_input()) fed_.append(Matrix<Scalar>(Matrix<Scalar>::Zero(sentences, model_.options.hidden)));
}

template <class Scalar>
ConstMatrixMap<Scalar> RecurrentSeq2SeqState<Scalar>::operator()(std::span<const Index> parents,
                                                                 std::span<const Token> tokens) {
  detail::check_step({"RecurrentSeq2SeqState", memory_.sequences(), vocabulary_size()}, parents, tokens);
  logits_ = {};
  has_begun_ = true;
  memory_.branch(parents);
  const RowOffsets rows = one_row_each(static_cast<Index>(parents.size()));
  RecurrentDecoderInputs<Scalar> in{
      .embedded = model_.embed_target(context_, tokens), .rows = rows, .states = std::move(spare_inputs_)};
  for (const auto& states : states_) in.states.push_back(gather_rows(context_, states.view(), parents));
  if (has_summaries()) in.summary = gather_rows(context_, summaries_.view(), parents);
  if (model_.feeds_input()) in.fed = gather_rows(context_, fed_.view(), parents);
  Context<Scalar> attending = context_;
  if (records_) attending.attention = &recorder_;
  const auto attend = [&](const Variable<Scalar>& h) {
    return model_.attention.attend_to_cache(attending, h, memory_, rows);
  };
  RecurrentResult<Scalar> result{{}, std::move(spare_results_)};
  model_.steps(context_, in, attend, result);
  for (std::size_t i = 0; i < states_.size(); ++i) states_[i].assign(result.states[i]);
  if (has_summaries()) summaries_.assign(in.summary);
  if (model_.feeds_input()) fed_.assign(result.output);
  logits_ = model_.logits(context_, result.output);
  in.states.clear();
  result.states.clear();
  spare_inputs_ = std::move(in.states);
  spare_results_ = std::move(result.states);
  return logits_.value();
}

template <class Scalar>
void RecurrentSeq2SeqState<Scalar>::record_alignments(bool recorded) {
  check(!has_begun_, "RecurrentSeq2SeqState: record_alignments is called after the first step");
  check(!recorded || attends(), "RecurrentSeq2SeqState: the model has no attention, and so no alignments");
  records_ = recorded;
}

template <class Scalar>
Matrix<Scalar> RecurrentSeq2SeqState<Scalar>::alignment(Index i) const {
  detail::check_alignment("RecurrentSeq2SeqState", records_, i, logits_.rows());
  return recorder_.weights(model_.attention).matrix(0).row(i).head(memory_.length(i));
}

/// Encodes the sentences and returns the model's step function for decoding them.
template <class Scalar>
RecurrentSeq2SeqState<Scalar> decoding_state(const RecurrentSeq2Seq<Scalar>& model, const Tokens& source,
                                             const Context<Scalar>& context = {}) {
  return RecurrentSeq2SeqState<Scalar>(model, source, context);
}

EIGENFORMER_TEMPLATE(class RecurrentSeq2SeqState);

}  // namespace eigenformer::inline EIGENFORMER_ABI
