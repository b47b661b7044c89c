// Transformer encoder: a stack of encoder blocks.
#pragma once

#include <vector>

#include "eigenformer/autograd/checkpoint.hpp"
#include "eigenformer/core/detail/compiled.hpp"
#include "eigenformer/layers/encoder_layer.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// The encoder stack of Vaswani et al. 2017, section 3.1; like torch.nn.TransformerEncoder. It maps vectors to vectors:
/// the embedding belongs to the model.
template <class Scalar>
struct Encoder {
  std::vector<EncoderLayer<Scalar>> layers;
  LayerNorm<Scalar> norm;                // after the last layer; empty: none
  AttentionPositions<Scalar> positions;  // shared by all layers

  Encoder() = default;
  /// Makes num_layers layers and the norm that layer.final_norm asks for. Leaves `positions` empty; set it afterwards
  /// if wanted. Throws if num_layers is negative.
  Encoder(const TransformerLayerOptions& layer, Index num_layers, Rng& rng);

  /// Encodes each sequence by itself. `score` applies in every layer, in addition to the score of its self_attn.
  /// x: [tokens x width] -> [tokens x width].
  Variable<Scalar> operator()(const Context<Scalar>& context, Variable<Scalar> x, const RowOffsets& rows = {},
                              const AnyScore<Scalar>& score = {}) const;

  static void visit(auto& self, auto&& visitor) {
    visitor("layers", self.layers);
    visitor("norm", self.norm);
    visitor("positions", self.positions);
  }
};

template <class Scalar>
Encoder<Scalar>::Encoder(const TransformerLayerOptions& layer, Index num_layers, Rng& rng) {
  check(num_layers >= 0, "Encoder: num_layers is ", num_layers, ", expected 0 or more");
  for (Index i = 0; i < num_layers; ++i) layers.emplace_back(layer, rng);
  if (layer.has_final_norm()) norm = layer.norm<Scalar>();
}

template <class Scalar>
Variable<Scalar> Encoder<Scalar>::operator()(const Context<Scalar>& context, Variable<Scalar> x, const RowOffsets& rows,
                                             const AnyScore<Scalar>& score) const {
  for (const EncoderLayer<Scalar>& layer : layers) {
    if (!context.checkpoint_activations) {
      x = layer(context, x, rows, score, positions);
      continue;
    }
    const auto call = [this, &layer, rows, score](const Context<Scalar>& again, const Variable<Scalar>& input) {
      return layer(again, input, rows, score, positions);
    };
    x = checkpoint(context, call, x);
  }
  return norm.empty() ? x : norm(context, x);
}

EIGENFORMER_TEMPLATE(struct Encoder);

}  // namespace eigenformer::inline EIGENFORMER_ABI
