// Step-by-step decoding of a Transformer with cached keys and values.
#pragma once

#include <limits>
#include <memory>
#include <span>
#include <vector>

#include "eigenformer/core/detail/compiled.hpp"
#include "eigenformer/models/detail/step_arguments.hpp"
#include "eigenformer/models/transformer.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// Options of a TransformerState.
struct TransformerStateOptions {
  Index page_size = 16;         // of the target's cache: see KeyValueCacheOptions
  Index memory_page_size = 16;  // of the cache of the encoder's output
};

/// Step function for the searches in decode/. Caches the keys and values of all tokens so far in pages that hypotheses
/// share, so dropping, reordering or splitting hypotheses moves only page numbers. The keys and values of an encoded
/// sentence are stored once, until the sentence has no hypothesis left.
///
/// A hypothesis's logits depend on its sentence and its tokens alone, bit for bit, not on the other hypotheses.
///
/// A step allocates no memory once the buffers have reached their final size. Exceptions: layers with scores or sinks,
/// the encodings alibi, bucketed and relative, positions beyond the precomputed tables, and recorded alignments.
template <class Scalar>
class TransformerState {
 public:
  /// Encodes the sentences. The model, and what the context points to, must outlive the state. Uses the context's
  /// workspace, or one of its own. Throws if the context has a tape.
  TransformerState(const Transformer<Scalar>& model, const Tokens& source, const Context<Scalar>& context = {},
                   const TransformerStateOptions& options = {});

  Index vocabulary_size() const { return model_.options.target_vocabulary_size; }
  /// Maximum number of steps of a sentence: the number of learned positions; unlimited with other encodings.
  Index max_tokens() const {
    return model_.positions.encoding == PositionEncoding::learned ? model_.positions.weight.value.rows()
                                                                  : (std::numeric_limits<Index>::max)();
  }

  /// Encodes more sentences. Their numbers follow those of the previous step's hypotheses, or, before the first step,
  /// those of the sentences so far. The next step drops a sentence that is not among its parents.
  void add(const Tokens& source);

  /// Appends tokens[i] to hypothesis parents[i] of the previous step, or to a sentence that was added since. The result
  /// is hypothesis i of this step. In the first step, the parents are the sentences. Drops hypotheses that are not
  /// among the parents. Returns the logits of the next tokens, [hypotheses x vocabulary size], valid until the next
  /// step. Throws, before it changes anything, if a parent or token does not exist, or if a parent has max_tokens()
  /// tokens.
  ConstMatrixMap<Scalar> operator()(std::span<const Index> parents, std::span<const Token> tokens);

  /// Chooses whether steps record alignments. Throws after the first step, or if the decoder has no layers.
  void record_alignments(bool recorded);
  /// Returns the weights with which hypothesis i of the last step attended to its sentence: [1 x source tokens].
  /// TransformerOptions::alignment_layer and alignment_head choose the head; the default is the mean over the heads of
  /// the last layer. Throws if alignments are not recorded or there is no such hypothesis.
  Matrix<Scalar> alignment(Index i) const;

  /// The caches of the target so far and of the encoder's output.
  const KeyValueCache<Scalar>& target_cache() const { return target_; }
  const KeyValueCache<Scalar>& memory_cache() const { return memory_; }

 private:
  const Transformer<Scalar>& model_;
  std::unique_ptr<Workspace> own_workspace_;
  Context<Scalar> context_;
  KeyValueCache<Scalar> target_, memory_;  // a sequence for each hypothesis, and for each sentence added since
  Variable<Scalar> logits_;
  AttentionRecorder<Scalar> recorder_;
  bool records_ = false;
  bool has_begun_ = false;
};

template <class Scalar>
TransformerState<Scalar>::TransformerState(const Transformer<Scalar>& model, const Tokens& source,
                                           const Context<Scalar>& context, const TransformerStateOptions& options)
    : model_(model),
      own_workspace_(context.workspace == nullptr ? std::make_unique<Workspace>() : nullptr),
      context_(context),
      target_({.layers = static_cast<Index>(model.decoder.layers.size()), .page_size = options.page_size}),
      memory_({.layers = static_cast<Index>(model.decoder.layers.size()), .page_size = options.memory_page_size}) {
  check(context.tape == nullptr, "TransformerState: the context has a tape; decoding records nothing");
  if (own_workspace_ != nullptr) context_.workspace = own_workspace_.get();
  add(source);
}

template <class Scalar>
void TransformerState<Scalar>::add(const Tokens& source) {
  const RowOffsets rows = source.rows.for_rows(static_cast<Index>(source.ids.size()), "TransformerState", "source");
  const Variable<Scalar> encoded = model_.encode(context_, source);
  std::vector<Index> lengths(static_cast<std::size_t>(memory_.sequences()), 0);
  for (Index s = 0; s < rows.sequences(); ++s) lengths.push_back(rows.length(s));
  target_.add(rows.sequences());
  memory_.add(rows.sequences());
  memory_.extend(lengths);
  for (std::size_t i = 0; i < model_.decoder.layers.size(); ++i)
    model_.decoder.layers[i].multihead_attn.append_to_cache(context_, encoded, memory_, static_cast<Index>(i));
}

template <class Scalar>
ConstMatrixMap<Scalar> TransformerState<Scalar>::operator()(std::span<const Index> parents,
                                                            std::span<const Token> tokens) {
  detail::check_step({"TransformerState", target_.sequences(), vocabulary_size()}, parents, tokens);
  for (const Index parent : parents)
    check(target_.length(parent) < max_tokens(), "TransformerState: hypothesis ", parent, " has ",
          target_.length(parent), " tokens already, the model has as many positions");
  logits_ = {};
  has_begun_ = true;
  target_.branch(parents);
  memory_.branch(parents);
  target_.extend();
  Variable<Scalar> x = model_.embed_at(context_, tokens, target_.table().new_positions());
  for (std::size_t i = 0; i < model_.decoder.layers.size(); ++i) {
    const bool aligns = records_ && &model_.decoder.layers[i].multihead_attn == &model_.alignment_attention();
    const DecoderCaches<Scalar> caches{
        .self = target_, .memory = memory_, .layer = static_cast<Index>(i), .observer = aligns ? &recorder_ : nullptr};
    x = model_.decoder.layers[i].step(context_, x, caches, model_.decoder.positions);
  }
  if (!model_.decoder.norm.empty()) x = model_.decoder.norm(context_, x);
  logits_ = model_.logits(context_, x);
  return logits_.value();
}

template <class Scalar>
void TransformerState<Scalar>::record_alignments(bool recorded) {
  check(!has_begun_, "TransformerState: record_alignments is called after the first step");
  check(!recorded || !model_.decoder.layers.empty(),
        "TransformerState: the decoder has no layers, and so no alignments");
  records_ = recorded;
}

template <class Scalar>
Matrix<Scalar> TransformerState<Scalar>::alignment(Index i) const {
  detail::check_alignment("TransformerState", records_, i, logits_.rows());
  const Tensor<Scalar>& weights = recorder_.weights(model_.alignment_attention());
  const Index chosen = model_.options.alignment_head;
  if (chosen > 0) return weights.matrix(chosen - 1).row(i).head(memory_.length(i));
  Matrix<Scalar> mean = Matrix<Scalar>::Zero(1, memory_.length(i));
  for (Index head = 0; head < weights.shape()[0]; ++head) mean += weights.matrix(head).row(i).head(mean.cols());
  return mean / static_cast<Scalar>(weights.shape()[0]);
}

/// Encodes the sentences and returns the model's step function for decoding them.
template <class Scalar>
TransformerState<Scalar> decoding_state(const Transformer<Scalar>& model, const Tokens& source,
                                        const Context<Scalar>& context = {}) {
  return TransformerState<Scalar>(model, source, context);
}

EIGENFORMER_TEMPLATE(class TransformerState);

}  // namespace eigenformer::inline EIGENFORMER_ABI
