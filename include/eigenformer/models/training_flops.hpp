// The floating-point operations of training a model, for the model FLOP utilisation (MFU) of Chowdhery et al. 2022
// ("PaLM", arXiv 2204.02311, appendix B): the operations that training needs, divided by its time and by the machine's
// peak.
#pragma once

#include <string>

#include "eigenformer/models/recurrent_seq2seq.hpp"
#include "eigenformer/models/transformer.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

namespace detail {

/// Returns the number of entries of a layer's weight matrices. Vectors, such as biases and gains, do not count: no
/// product uses them.
template <class Layer>
double weight_count(const Layer& layer) {
  double count = 0;
  for_each_parameter(layer, [&](const std::string&, const auto& parameter) {
    if (parameter.value.rows() > 1) count += static_cast<double>(parameter.size());
  });
  return count;
}

/// Returns the number of pairs of a query and a key of the same sequence. causal: counts only pairs that Causal leaves
/// visible.
inline double attended_pairs(const RowOffsets& queries, const RowOffsets& keys, bool causal = false) {
  double pairs = 0;
  for (Index s = 0; s < queries.sequences(); ++s) {
    const auto q = static_cast<double>(queries.length(s)), k = static_cast<double>(keys.length(s));
    pairs += causal ? q * (q + 1) / 2 : q * k;
  }
  return pairs;
}

/// Returns the multiply-adds of one attention layer in the forward pass.
template <class Scalar>
double attention_multiply_adds(const MultiHeadAttention<Scalar>& layer, double queries, double keys, double pairs) {
  const double of_queries = weight_count(layer.q) + weight_count(layer.out_proj);
  const double of_keys = weight_count(layer.k) + weight_count(layer.v);
  const auto width = static_cast<double>(layer.out_proj.inputs());
  return of_queries * queries + of_keys * keys + 2 * width * pairs;
}

/// Returns the multiply-adds of an encoder in the forward pass.
template <class Scalar>
double encoder_multiply_adds(const Encoder<Scalar>& encoder, const RowOffsets& rows) {
  const auto tokens = static_cast<double>(rows.rows());
  double multiply_adds = 0;
  for (const EncoderLayer<Scalar>& layer : encoder.layers)
    multiply_adds += attention_multiply_adds(layer.self_attn, tokens, tokens, attended_pairs(rows, rows)) +
                     weight_count(layer.feed_forward) * tokens;
  return multiply_adds;
}

/// Returns the row offsets of tokens. Tokens without offsets are one sequence. Throws if they do not fit the tokens.
inline RowOffsets offsets_of(const Tokens& tokens, const char* name) {
  return tokens.rows.for_rows(static_cast<Index>(tokens.ids.size()), "training_flops", name);
}

/// Returns the operations of a training step. The backward multiplies twice as often as the forward: once for each
/// operand of a product.
inline double training_flops(double multiply_adds) {
  return 6 * multiply_adds;
}

}  // namespace detail

/// Returns the floating-point operations of the forward and backward pass on a batch: 6 per weight and token, and
/// 12 * width per attention layer and visible pair of a query and a key. Only the causal mask hides pairs here; pairs
/// that a window or another score of the options hides count as visible. Lookups, norms, activations, softmax and the
/// optimiser do not count, nor what an implementation computes twice. Throws if the row offsets of the batch do not fit
/// its tokens.
template <class Scalar>
double training_flops(const Transformer<Scalar>& model, const TranslationBatch& batch) {
  const RowOffsets source = detail::offsets_of(batch.source, "source"),
                   target = detail::offsets_of(batch.target, "target");
  const auto keys = static_cast<double>(source.rows()), queries = static_cast<double>(target.rows());
  double multiply_adds = detail::encoder_multiply_adds(model.encoder, source) +
                         static_cast<double>(model.output_weight().size()) * queries;
  for (const DecoderLayer<Scalar>& layer : model.decoder.layers)
    multiply_adds +=
        detail::attention_multiply_adds(layer.self_attn, queries, queries,
                                        detail::attended_pairs(target, target, true)) +
        detail::attention_multiply_adds(layer.multihead_attn, queries, keys, detail::attended_pairs(target, source)) +
        detail::weight_count(layer.feed_forward) * queries;
  return detail::training_flops(multiply_adds);
}

/// Returns the floating-point operations of the forward and backward pass on a batch: 6 per weight and token, and
/// 12 * hidden per pair of a target and a source token if the decoder attends. Each layer of a self-attention encoder
/// adds 12 * width per pair of source tokens. Throws if the row offsets of the batch do not fit its tokens.
template <class Scalar>
double training_flops(const RecurrentSeq2Seq<Scalar>& model, const TranslationBatch& batch) {
  const RowOffsets source = detail::offsets_of(batch.source, "source"),
                   target = detail::offsets_of(batch.target, "target");
  const auto keys = static_cast<double>(source.rows()), queries = static_cast<double>(target.rows());
  const bool attends = model.options.context == SourceContext::attention;
  const double of_keys = detail::weight_count(model.encoder) + detail::weight_count(model.convolution) +
                         (attends ? detail::weight_count(model.attention.key) : 0);
  const double of_queries = detail::weight_count(model.decoder) + detail::weight_count(model.combine) +
                            static_cast<double>(model.output_weight().size()) +
                            (attends ? detail::weight_count(model.attention.query) : 0);
  const double pairs = attends ? detail::attended_pairs(target, source) : 0;
  return detail::training_flops(detail::encoder_multiply_adds(model.self_attention, source) + of_keys * keys +
                                detail::weight_count(model.bridge) * static_cast<double>(source.sequences()) +
                                of_queries * queries + 2 * static_cast<double>(model.options.hidden) * pairs);
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
