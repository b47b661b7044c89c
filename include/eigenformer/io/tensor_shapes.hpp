// Names and shapes of the tensors of layers, computed from the layers' options alone. They allow a file to be checked
// against a configuration before the model is allocated. The *_config.hpp headers list the tensors of models.
#pragma once

#include <algorithm>
#include <functional>
#include <string>

#include "eigenformer/layers/recurrent.hpp"
#include "eigenformer/layers/transformer_layer_options.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// Function that is called with each tensor's name and shape.
using TensorVisitor = std::function<void(const std::string& name, const Shape& shape)>;

namespace detail {

inline void visit_linear(const TensorVisitor& visitor, const std::string& name, Index inputs, Index outputs,
                         bool bias = true) {
  visitor(name + ".weight", {outputs, inputs});
  if (bias) visitor(name + ".bias", {1, outputs});
}

inline void visit_norm(const TensorVisitor& visitor, const std::string& name, Index features, bool bias = true) {
  visitor(name + ".weight", {1, features});
  if (bias) visitor(name + ".bias", {1, features});
}

/// Visits the tensors of a MultiHeadAttention whose inputs all have the same width.
inline void visit_attention(const TensorVisitor& visitor, const std::string& name,
                            const MultiHeadAttentionOptions& options) {
  const Index width = options.width, key_heads = options.key_heads == 0 ? options.heads : options.key_heads;
  const Index head_width = options.head_width == 0 ? width / std::max<Index>(options.heads, 1) : options.head_width;
  visit_linear(visitor, name + ".q", width, options.heads * head_width, options.bias);
  visit_linear(visitor, name + ".k", width, key_heads * head_width, options.bias);
  visit_linear(visitor, name + ".v", width, key_heads * head_width, options.bias);
  visit_linear(visitor, name + ".out_proj", options.heads * head_width, width, options.bias);
  if (options.qk_norm != QueryKeyNorm::none) {
    const bool bias = options.qk_norm == QueryKeyNorm::layer_norm && options.qk_norm_bias;
    visit_norm(visitor, name + ".q_norm", head_width, bias);
    visit_norm(visitor, name + ".k_norm", head_width, bias);
  }
  if (options.sinks) visitor(name + ".sinks", {1, options.heads});
  if (options.relative_distance == 0) return;
  visitor(name + ".relative_keys", {2 * options.relative_distance + 1, head_width});
  if (options.relative_values) visitor(name + ".relative_values", {2 * options.relative_distance + 1, head_width});
}

/// Visits the tensors of an encoder block, which a decoder block has too.
inline void visit_encoder_layer(const TensorVisitor& visitor, const std::string& name,
                                const TransformerLayerOptions& options) {
  visit_attention(visitor, name + ".self_attn", options.self_attention());
  visit_linear(visitor, name + ".linear1", options.width, options.dim_feedforward, options.bias);
  visit_linear(visitor, name + ".linear2", options.dim_feedforward, options.width, options.bias);
  visit_norm(visitor, name + ".norm1", options.width, options.norm_bias);
  visit_norm(visitor, name + ".norm2", options.width, options.norm_bias);
}

inline void visit_decoder_layer(const TensorVisitor& visitor, const std::string& name,
                                const TransformerLayerOptions& options) {
  visit_encoder_layer(visitor, name, options);
  visit_attention(visitor, name + ".multihead_attn", options.attention());
  visit_norm(visitor, name + ".norm3", options.width, options.norm_bias);
}

inline void visit_recurrent(const TensorVisitor& visitor, const std::string& name, const RecurrentOptions& options) {
  const Index gates = gate_count(options.cell) * options.hidden, directions = options.bidirectional ? 2 : 1;
  for (Index layer = 0; layer < options.num_layers; ++layer)
    for (Index direction = 0; direction < directions; ++direction) {
      const std::string suffix = "_l" + std::to_string(layer) + (direction == 0 ? "" : "_reverse");
      visitor(name + ".weight_ih" + suffix, {gates, layer == 0 ? options.inputs : options.hidden * directions});
      visitor(name + ".weight_hh" + suffix, {gates, options.hidden});
      if (!options.bias) continue;
      visitor(name + ".bias_ih" + suffix, {1, gates});
      visitor(name + ".bias_hh" + suffix, {1, gates});
    }
}

}  // namespace detail

}  // namespace eigenformer::inline EIGENFORMER_ABI
