// Stack of convolutions that can replace a Transformer's encoder.
#pragma once

#include <vector>

#include "eigenformer/core/detail/compiled.hpp"
#include "eigenformer/layers/convolution_layer.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

struct ConvolutionalEncoderOptions {
  Index num_layers = 6;
  ConvolutionLayerOptions layer{};  // the same for every layer

  /// Number of input tokens that one output depends on; each layer adds (kernel - 1) * dilation.
  Index receptive_field() const { return num_layers * (layer.kernel - 1) * layer.dilation + 1; }
};

/// The encoder of Gehring et al. 2017 (arXiv 1705.03122), section 3.2. The embeddings must have the layers' width.
template <class Scalar>
struct ConvolutionalEncoder {
  std::vector<ConvolutionLayer<Scalar>> layers;

  ConvolutionalEncoder() = default;
  /// Throws if num_layers is negative, or if the constructor of ConvolutionLayer throws.
  ConvolutionalEncoder(const ConvolutionalEncoderOptions& options, Rng& rng);

  /// Encodes each sequence by itself. x: [tokens x width] -> [tokens x width]. Add any positions to x beforehand.
  Variable<Scalar> operator()(const Context<Scalar>& context, Variable<Scalar> x, const RowOffsets& rows = {}) const;

  static void visit(auto& self, auto&& visitor) { visitor("layers", self.layers); }
};

template <class Scalar>
ConvolutionalEncoder<Scalar>::ConvolutionalEncoder(const ConvolutionalEncoderOptions& options, Rng& rng) {
  check(options.num_layers >= 0, "ConvolutionalEncoder: num_layers is ", options.num_layers, ", expected 0 or more");
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
