// A stack of convolutions, to stand where a Transformer's encoder stands.
#pragma once

#include <vector>

#include "eigenformer/core/detail/compiled.hpp"
#include "eigenformer/layers/convolution_layer.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

struct ConvolutionalEncoderOptions {
  Index num_layers = 6;
  ConvolutionLayerOptions layer{};  // of every layer

  /// How many tokens a result is made of: each layer adds (kernel - 1) * dilation.
  Index receptive_field() const { return num_layers * (layer.kernel - 1) * layer.dilation + 1; }
};

/// The encoder of Gehring et al. 2017 (arXiv 1705.03122), section 3.2, on embeddings that have its width.
template <class Scalar>
struct ConvolutionalEncoder {
  std::vector<ConvolutionLayer<Scalar>> layers;

  ConvolutionalEncoder() = default;
  ConvolutionalEncoder(const ConvolutionalEncoderOptions& options, Rng& rng);

  /// x: embeddings, with positions if there are to be any, [tokens x width] -> [tokens x width], each sequence by
  /// itself.
  Variable<Scalar> operator()(const Context<Scalar>& context, Variable<Scalar> x, const RowOffsets& rows = {}) const;

  static void visit(auto& self, auto&& visitor) { visitor("layers", self.layers); }
};

template <class Scalar>
ConvolutionalEncoder<Scalar>::ConvolutionalEncoder(const ConvolutionalEncoderOptions& options, Rng& rng) {
  for (Index i = 0; i < options.num_layers; ++i) layers.emplace_back(options.layer, rng);
}

template <class Scalar>
Variable<Scalar> ConvolutionalEncoder<Scalar>::operator()(const Context<Scalar>& context, Variable<Scalar> x,
                                                          const RowOffsets& rows) const {
  for (const ConvolutionLayer<Scalar>& layer : layers) x = layer(context, x, rows);
  return x;
}

EIGENFORMER_TEMPLATE(struct ConvolutionalEncoder);

}  // namespace eigenformer::inline EIGENFORMER_ABI
