// A Transformer's encoder: a stack of encoder blocks.
#pragma once

#include <vector>

#include "eigenformer/core/detail/compiled.hpp"
#include "eigenformer/layers/encoder_layer.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// The stack of Vaswani et al. 2017, section 3.1; like torch.nn.TransformerEncoder. It works on vectors: embeddings are
/// the model's.
template <class Scalar>
struct Encoder {
  std::vector<EncoderLayer<Scalar>> layers;
  LayerNorm<Scalar> norm;                // after the last layer; empty: none
  AttentionPositions<Scalar> positions;  // which all its layers share

  Encoder() = default;
  /// Layers with these options, and with norm_first a norm after them. Without positions, which may be set afterwards.
  Encoder(const TransformerLayerOptions& layer, Index num_layers, Rng& rng);

  /// x: [tokens x width] -> [tokens x width], each sequence by itself.
  Variable<Scalar> operator()(const Context<Scalar>& context, Variable<Scalar> x, const RowOffsets& rows = {},
                              const AnyMask& mask = Unmasked{}) const;

  static void visit(auto& self, auto&& visitor) {
    visitor("layers", self.layers);
    visitor("norm", self.norm);
    visitor("positions", self.positions);
  }
};

template <class Scalar>
Encoder<Scalar>::Encoder(const TransformerLayerOptions& layer, Index num_layers, Rng& rng) {
  for (Index i = 0; i < num_layers; ++i) layers.emplace_back(layer, rng);
  if (layer.norm_first) norm = LayerNorm<Scalar>(layer.width, layer.layer_norm_eps);
}

template <class Scalar>
Variable<Scalar> Encoder<Scalar>::operator()(const Context<Scalar>& context, Variable<Scalar> x, const RowOffsets& rows,
                                             const AnyMask& mask) const {
  for (const EncoderLayer<Scalar>& layer : layers) x = layer(context, x, rows, mask, positions);
  return norm.empty() ? x : norm(context, x);
}

EIGENFORMER_TEMPLATE(struct Encoder);

}  // namespace eigenformer::inline EIGENFORMER_ABI
