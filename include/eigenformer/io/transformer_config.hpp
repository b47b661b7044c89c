// Options of a Transformer in config.json (see options.hpp), and the tensors that they imply.
#pragma once

#include <concepts>
#include <string>

#include "eigenformer/io/options.hpp"
#include "eigenformer/io/tensor_shapes.hpp"
#include "eigenformer/models/transformer.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// Visits every option of a rotary scaling by name, as options_to_json requires.
template <class Options>
requires std::same_as<std::remove_const_t<Options>, RotaryScaling>
void visit_options(Options& options, auto&& visitor) {
  visitor("rope_type", options.rope_type);
  visitor("factor", options.factor);
  visitor("original_max_position_embeddings", options.original_max_position_embeddings);
  visitor("low_freq_factor", options.low_freq_factor);
  visitor("high_freq_factor", options.high_freq_factor);
  visitor("beta_fast", options.beta_fast);
  visitor("beta_slow", options.beta_slow);
  visitor("truncate", options.truncate);
  visitor("attention_factor", options.attention_factor);
  visitor("mscale", options.mscale);
  visitor("mscale_all_dim", options.mscale_all_dim);
  visitor("sequence_length", options.sequence_length, AddedLater());
  visitor("short_factor", options.short_factor, AddedLater());
  visitor("long_factor", options.long_factor, AddedLater());
}

/// Visits every option of a layer's score by name, as options_to_json requires.
template <class Options>
requires std::same_as<std::remove_const_t<Options>, LayerScore>
void visit_options(Options& options, auto&& visitor) {
  visitor("window", options.window);
  visitor("soft_cap", options.soft_cap);
  visitor("user_score", options.user_score);
  visitor("sinks", options.sinks, AddedLater());
}

/// Visits every option by name, as options_to_json requires. The options of `layer` are in the same flat list.
template <class Options>
requires std::same_as<std::remove_const_t<Options>, TransformerOptions>
void visit_options(Options& options, auto&& visitor) {
  visitor("source_vocabulary_size", options.source_vocabulary_size);
  visitor("target_vocabulary_size", options.target_vocabulary_size);
  visitor("width", options.layer.width);
  visitor("heads", options.layer.heads);
  visitor("key_heads", options.layer.key_heads);
  visitor("head_width", options.layer.head_width);
  visitor("num_encoder_layers", options.num_encoder_layers);
  visitor("num_decoder_layers", options.num_decoder_layers);
  visitor("dim_feedforward", options.layer.dim_feedforward);
  visitor("dropout", options.layer.dropout);
  visitor("activation", options.layer.activation);
  visitor("layer_norm_eps", options.layer.layer_norm_eps);
  visitor("norm_first", options.layer.norm_first);
  visitor("residual", options.layer.residual);
  visitor("bias", options.layer.bias);
  visitor("norm_bias", options.layer.norm_bias, AddedLater());
  visitor("final_norm", options.layer.final_norm, AddedLater());
  visitor("qk_norm", options.layer.qk_norm, AddedLater());
  visitor("sinks", options.layer.sinks, AddedLater());
  visitor("attention_dropout", options.layer.attention_dropout, AddedLater());
  visitor("activation_dropout", options.layer.activation_dropout, AddedLater());
  visitor("embedding_dropout", options.layer.embedding_dropout, AddedLater());
  visitor("positions", options.positions);
  visitor("max_length", options.max_length);
  visitor("relative_distance", options.relative_distance);
  visitor("relative_values", options.layer.relative_values);
  visitor("buckets", options.buckets);
  visitor("max_distance", options.max_distance);
  visitor("rotary_base", options.rotary_base);
  visitor("rope_scaling", options.rope_scaling, AddedLater());
  visitor("share_embeddings", options.share_embeddings);
  visitor("tie_output", options.tie_output);
  visitor("encoder_scores", options.encoder_scores, AddedLater());
  visitor("decoder_scores", options.decoder_scores, AddedLater());
  visitor("memory_scores", options.memory_scores, AddedLater());
  visitor("alignment_layer", options.alignment_layer, AddedLater());
  visitor("alignment_head", options.alignment_head, AddedLater());
}

namespace detail {

/// Visits the tensors that a LayerScore adds to the attention `name`. layer: the options of the attention's layer.
template <class Scalar>
void visit_score(const TensorVisitor& visitor, const std::string& name, const LayerScore& chosen,
                 const TransformerLayerOptions& layer, const NamedScores<Scalar>& scores) {
  if (chosen.sinks && !layer.sinks) visitor(name + ".sinks", {1, layer.heads});
  const TrainableScore<Scalar> score = chosen.score(scores);
  for_each_parameter(score, [&](const std::string& parameter, const Parameter<Scalar>& initial) {
    visitor(name + ".score." + parameter, shape(initial.value));
  });
}

}  // namespace detail

/// Calls the visitor with the name and shape of every parameter of a Transformer with these options and scores, without
/// allocating the model. The visitor may throw to stop early. Throws if the options name a score that `scores` does not
/// have.
template <class Scalar = float>
void visit_tensors(const TransformerOptions& options, const TensorVisitor& visitor,
                   const NamedScores<Scalar>& scores = {}) {
  const Index width = options.layer.width;
  visitor("source_embedding.weight", {options.source_vocabulary_size, width});
  if (!options.share_embeddings) visitor("target_embedding.weight", {options.target_vocabulary_size, width});
  if (!options.tie_output) detail::visit_linear(visitor, "generator", width, options.target_vocabulary_size);
  if (options.positions == PositionEncoding::learned) visitor("positions.weight", {options.max_length, width});
  for (Index i = 0; i < options.num_encoder_layers; ++i) {
    const std::string name = "encoder.layers." + std::to_string(i);
    detail::visit_encoder_layer(visitor, name, options.layer_with_positions());
    detail::visit_score(visitor, name + ".self_attn", score_of_layer(options.encoder_scores, i), options.layer, scores);
  }
  for (Index i = 0; i < options.num_decoder_layers; ++i) {
    const std::string name = "decoder.layers." + std::to_string(i);
    detail::visit_decoder_layer(visitor, name, options.layer_with_positions());
    detail::visit_score(visitor, name + ".self_attn", score_of_layer(options.decoder_scores, i), options.layer, scores);
    detail::visit_score(visitor, name + ".multihead_attn", score_of_layer(options.memory_scores, i), options.layer,
                        scores);
  }
  for (const char* stack : {"encoder", "decoder"}) {
    if (options.positions == PositionEncoding::bucketed)
      visitor(std::string(stack) + ".positions.weight", {options.buckets, options.layer.heads});
    if (options.layer.has_final_norm())
      detail::visit_norm(visitor, std::string(stack) + ".norm", width, options.layer.norm_bias);
  }
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
