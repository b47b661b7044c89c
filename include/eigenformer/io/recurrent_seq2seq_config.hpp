// Options of a recurrent sequence-to-sequence model in config.json (see options.hpp), and the tensors that they imply.
#pragma once

#include <concepts>
#include <string>

#include "eigenformer/io/options.hpp"
#include "eigenformer/io/tensor_shapes.hpp"
#include "eigenformer/models/recurrent_seq2seq.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// Visits every option by name, as options_to_json requires.
template <class Options>
requires std::same_as<std::remove_const_t<Options>, RecurrentSeq2SeqOptions>
void visit_options(Options& options, auto&& visitor) {
  visitor("source_vocabulary_size", options.source_vocabulary_size);
  visitor("target_vocabulary_size", options.target_vocabulary_size);
  visitor("width", options.width);
  visitor("hidden", options.hidden);
  visitor("cell", options.cell);
  visitor("encoder", options.encoder);
  visitor("bidirectional", options.bidirectional);
  visitor("num_encoder_layers", options.num_encoder_layers);
  visitor("num_decoder_layers", options.num_decoder_layers);
  visitor("context", options.context);
  visitor("score", options.score);
  visitor("input_feeding", options.input_feeding);
  visitor("dropout", options.dropout);
  visitor("kernel", options.kernel);
  visitor("heads", options.heads);
  visitor("max_length", options.max_length);
  visitor("share_embeddings", options.share_embeddings);
  visitor("tie_output", options.tie_output);
}

namespace detail {

inline void visit_source_encoder(const RecurrentSeq2SeqOptions& options, const TensorVisitor& visitor) {
  const Index hidden = options.hidden;
  switch (options.encoder) {
    case SourceEncoder::recurrent:
      visit_recurrent(visitor, "encoder", options.recurrent_encoder());
      break;
    case SourceEncoder::convolution:
      for (Index i = 0; i < options.num_encoder_layers; ++i)
        visit_linear(visitor, "convolution.layers." + std::to_string(i) + ".convolution", options.kernel * hidden,
                     2 * hidden);
      break;
    case SourceEncoder::self_attention:
      for (Index i = 0; i < options.num_encoder_layers; ++i)
        visit_encoder_layer(visitor, "self_attention.layers." + std::to_string(i), options.self_attention_layer());
      visit_norm(visitor, "self_attention.norm", hidden);
      break;
  }
}

}  // namespace detail

/// Calls the visitor with the name and shape of every parameter of a recurrent model with these options, without
/// allocating the model. The visitor may throw to stop early.
inline void visit_tensors(const RecurrentSeq2SeqOptions& options, const TensorVisitor& visitor) {
  const Index hidden = options.hidden;
  visitor("source_embedding.weight", {options.source_vocabulary_size, options.width});
  if (!options.share_embeddings) visitor("target_embedding.weight", {options.target_vocabulary_size, options.width});
  detail::visit_source_encoder(options, visitor);
  detail::visit_recurrent(visitor, "decoder", options.recurrent_decoder());
  if (options.encoder != SourceEncoder::recurrent)
    detail::visit_linear(visitor, "bridge", hidden, options.num_decoder_layers * state_count(options.cell) * hidden);
  if (options.context == SourceContext::attention) {
    const bool additive = options.score == AlignmentScore::additive;
    if (additive || options.score == AlignmentScore::general)
      detail::visit_linear(visitor, "attention.query", hidden, hidden, additive);
    if (additive) {
      detail::visit_linear(visitor, "attention.key", hidden, hidden, false);
      visitor("attention.v", {1, hidden});
    }
    detail::visit_linear(visitor, "combine", 2 * hidden, hidden);
  }
  if (options.context == SourceContext::every_step)
    detail::visit_linear(visitor, "combine", 2 * hidden + options.width, hidden);
  if (!options.tie_output) detail::visit_linear(visitor, "generator", hidden, options.target_vocabulary_size);
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
