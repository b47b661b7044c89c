// Transformer decoder: a stack of decoder blocks.
#pragma once

#include <vector>

#include "eigenformer/autograd/checkpoint.hpp"
#include "eigenformer/core/detail/compiled.hpp"
#include "eigenformer/layers/decoder_layer.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// The decoder stack of Vaswani et al. 2017, section 3.1; like torch.nn.TransformerDecoder. It maps vectors to vectors:
/// the embedding and the output layer belong to the model.
template <class Scalar>
struct Decoder {
  std::vector<DecoderLayer<Scalar>> layers;
  LayerNorm<Scalar> norm;                // after the last layer; empty: none
  AttentionPositions<Scalar> positions;  // shared by all layers

  Decoder() = default;
  /// Makes num_layers layers and the norm that layer.final_norm asks for. Leaves `positions` empty; set it afterwards
  /// if wanted. Throws if num_layers is negative.
  Decoder(const TransformerLayerOptions& layer, Index num_layers, Rng& rng);

  /// Decodes each sequence with self-attention and attention to its own part of memory, the encoder's output.
  /// target_score applies to the self-attention of every layer. Pass Unmasked{} for the result of
  /// torch.nn.TransformerDecoder without tgt_mask. x: [target tokens x width], memory: [source tokens x width] ->
  /// [target tokens x width].
  Variable<Scalar> operator()(const Context<Scalar>& context, Variable<Scalar> x, const RowOffsets& rows,
                              const Variable<Scalar>& memory, const RowOffsets& memory_rows,
                              const AnyScore<Scalar>& target_score = Causal{}) const;

  static void visit(auto& self, auto&& visitor) {
    visitor("layers", self.layers);
    visitor("norm", self.norm);
    visitor("positions", self.positions);
  }
};

template <class Scalar>
Decoder<Scalar>::Decoder(const TransformerLayerOptions& layer, Index num_layers, Rng& rng) {
  check(num_layers >= 0, "Decoder: num_layers is ", num_layers, ", expected 0 or more");
  for (Index i = 0; i < num_layers; ++i) layers.emplace_back(layer, rng);
  if (layer.has_final_norm()) norm = layer.norm<Scalar>();
}

template <class Scalar>
Variable<Scalar> Decoder<Scalar>::operator()(const Context<Scalar>& context, Variable<Scalar> x, const RowOffsets& rows,
                                             const Variable<Scalar>& memory, const RowOffsets& memory_rows,
                                             const AnyScore<Scalar>& target_score) const {
  const DecoderBatch<Scalar> batch{rows, memory_rows, target_score, &positions};
  for (const DecoderLayer<Scalar>& layer : layers) {
    if (!context.checkpoint_activations) {
      x = layer(context, x, memory, batch);
      continue;
    }
    const auto call = [&layer, batch](const Context<Scalar>& again, const Variable<Scalar>& input,
                                      const Variable<Scalar>& of_source) {
      return layer(again, input, of_source, batch);
    };
    x = checkpoint(context, call, x, memory);
  }
  return norm.empty() ? x : norm(context, x);
}

EIGENFORMER_TEMPLATE(struct Decoder);

}  // namespace eigenformer::inline EIGENFORMER_ABI
