// Guided alignment: a loss that trains a model to translate and to align words at the same time.
#pragma once

#include "eigenformer/models/recurrent_seq2seq.hpp"
#include "eigenformer/models/transformer.hpp"
#include "eigenformer/ops/alignment_loss.hpp"
#include "eigenformer/ops/arithmetic.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// Returns a request for the weights of the head that guided_loss() trains. TransformerOptions::alignment_layer and
/// alignment_head name the head. Throws if they name none, or if the decoder has no layers.
template <class Scalar>
HeadWeights<Scalar> alignment_weights(const Transformer<Scalar>& model) {
  check(model.options.alignment_head > 0,
        "guided_loss: the Transformer's alignment_head is 0, the mean over all heads, expected one head");
  return {.layer = &model.alignment_attention(), .head = model.options.alignment_head - 1};
}

/// Returns a request for the attention weights that guided_loss() trains. Throws if the model has no attention.
template <class Scalar>
HeadWeights<Scalar> alignment_weights(const RecurrentSeq2Seq<Scalar>& model) {
  check(model.options.context == SourceContext::attention, "guided_loss: the model's context is ",
        to_string(model.options.context), ", expected attention");
  return {.layer = &model.attention};
}

/// Returns the loss [1 x 1] of translating and aligning a batch:
///
///   model.loss(batch) + weight * L_a,   L_a = - sum over rows i and keys j of G_ij log A_ij
///
/// - A: the weights of one attention head. Row i predicts batch.next[i], and is aligned with that token's links.
/// - G: batch.alignment, from alignment_labels(). Rows without links add nothing.
///
/// With Reduction::mean, L_a is divided by the number of target tokens, including those without links. Dividing the
/// loss of Reduction::sum by that number gives the same result.
///
/// Source: Garg et al. 2019, "Jointly Learning to Align and Translate with Transformer Models", arXiv 1909.02074,
/// section 4.2; for recurrent models Chen et al. 2016, arXiv 1607.01628. Two differences:
/// - The head sees only earlier target tokens. In section 4.3 the decoder runs a second time, and the head sees all.
/// - The paper divides by the length of each sentence. This loss divides by the number of all target tokens, as fairseq
///   does.
///
/// weight: 0.05 in the paper, 0.1 in Marian by default. With weight 0, or without labels, this is model.loss(). Throws
/// if the model has no head to train (see alignment_weights), or a label is outside the weights.
template <class Scalar, template <class> class Model>
Variable<Scalar> guided_loss(const Model<Scalar>& model, const Context<Scalar>& context, const TranslationBatch& batch,
                             double weight, const CrossEntropyOptions& options = {}) {
  if (weight == 0 || batch.alignment.empty()) return model.loss(context, batch, options);
  HeadWeights<Scalar> head = alignment_weights(model);
  Context<Scalar> asking = context;
  asking.head_weights = &head;
  const Variable<Scalar> translation = model.loss(asking, batch, options);
  const Variable<Scalar> alignment = alignment_loss(context, head.weights, batch.alignment);
  const double rows = options.reduction == Reduction::mean ? static_cast<double>(head.weights.rows()) : 1;
  return add(context, translation, scale(context, alignment, static_cast<Scalar>(weight / rows)));
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
