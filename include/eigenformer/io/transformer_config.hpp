// A Transformer's options in config.json of a model folder: see options.hpp.
#pragma once

#include <concepts>

#include "eigenformer/io/options.hpp"
#include "eigenformer/models/transformer.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

template <class Options>
requires std::same_as<std::remove_const_t<Options>, TransformerOptions>
void visit_options(Options& options, auto&& visitor) {
  visitor("source_vocabulary_size", options.source_vocabulary_size);
  visitor("target_vocabulary_size", options.target_vocabulary_size);
  visitor("width", options.width);
  visitor("heads", options.heads);
  visitor("key_heads", options.key_heads);
  visitor("head_width", options.head_width);
  visitor("num_encoder_layers", options.num_encoder_layers);
  visitor("num_decoder_layers", options.num_decoder_layers);
  visitor("dim_feedforward", options.dim_feedforward);
  visitor("dropout", options.dropout);
  visitor("activation", options.activation);
  visitor("layer_norm_eps", options.layer_norm_eps);
  visitor("norm_first", options.norm_first);
  visitor("residual", options.residual);
  visitor("bias", options.bias);
  visitor("positions", options.positions);
  visitor("max_length", options.max_length);
  visitor("relative_distance", options.relative_distance);
  visitor("relative_values", options.relative_values);
  visitor("buckets", options.buckets);
  visitor("max_distance", options.max_distance);
  visitor("rotary_base", options.rotary_base);
  visitor("share_embeddings", options.share_embeddings);
  visitor("tie_output", options.tie_output);
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
