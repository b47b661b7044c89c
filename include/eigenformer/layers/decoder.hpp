// A Transformer's decoder: a stack of decoder blocks.
#pragma once

#include <vector>

#include "eigenformer/core/detail/compiled.hpp"
#include "eigenformer/layers/decoder_layer.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// The stack of Vaswani et al. 2017, section 3.1; like torch.nn.TransformerDecoder. It works on vectors: embeddings and
/// the output layer are the model's.
template <class Scalar>
struct Decoder {
  std::vector<DecoderLayer<Scalar>> layers;
  LayerNorm<Scalar> norm;                // after the last layer; empty: none
  AttentionPositions<Scalar> positions;  // which all its layers share

  Decoder() = default;
  /// Layers with these options, and with norm_first a norm after them. Without positions, which may be set afterwards.
  Decoder(const TransformerLayerOptions& layer, Index num_layers, Rng& rng);

  /// x: [target tokens x width], memory: [source tokens x width], the encoder's result -> [target tokens x width].
  Variable<Scalar> operator()(const Context<Scalar>& context, Variable<Scalar> x, const RowOffsets& rows,
                              const Variable<Scalar>& memory, const RowOffsets& memory_rows) const;

  static void visit(auto& self, auto&& visitor) {
    visitor("layers", self.layers);
    visitor("norm", self.norm);
    visitor("positions", self.positions);
  }
};

template <class Scalar>
Decoder<Scalar>::Decoder(const TransformerLayerOptions& layer, Index num_layers, Rng& rng) {
  for (Index i = 0; i < num_layers; ++i) layers.emplace_back(layer, rng);
  if (layer.norm_first) norm = LayerNorm<Scalar>(layer.width, layer.layer_norm_eps);
}

template <class Scalar>
Variable<Scalar> Decoder<Scalar>::operator()(const Context<Scalar>& context, Variable<Scalar> x, const RowOffsets& rows,
                                             const Variable<Scalar>& memory, const RowOffsets& memory_rows) const {
  for (const DecoderLayer<Scalar>& layer : layers) x = layer(context, x, rows, memory, memory_rows, positions);
  return norm.empty() ? x : norm(context, x);
}

EIGENFORMER_TEMPLATE(struct Decoder);

}  // namespace eigenformer::inline EIGENFORMER_ABI
