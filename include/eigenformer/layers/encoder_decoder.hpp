// Encoder and decoder stacks of a Transformer, without embeddings.
#pragma once

#include "eigenformer/core/detail/compiled.hpp"
#include "eigenformer/layers/decoder.hpp"
#include "eigenformer/layers/encoder.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// An encoder and a decoder, like torch.nn.Transformer, but with a causal tgt_mask by default. Parameters have the same
/// names. torch.nn.Transformer ends each stack with a norm, so set final_norm to FinalNorm::always to read its weights.
/// models/transformer.hpp has the model with embeddings and an output layer.
template <class Scalar>
struct EncoderDecoder {
  Encoder<Scalar> encoder;
  Decoder<Scalar> decoder;

  EncoderDecoder() = default;
  EncoderDecoder(const TransformerLayerOptions& layer, Index num_encoder_layers, Index num_decoder_layers, Rng& rng);

  /// Returns the decoder's output: [target tokens x width]. Each target sequence attends to the source sequence of the
  /// same number. source: [source tokens x width], target: [target tokens x width].
  /// target_score selects the tokens of its sequence that a target token attends to, as tgt_mask of
  /// torch.nn.Transformer does. Pass Unmasked{} for its result without tgt_mask.
  Variable<Scalar> operator()(const Context<Scalar>& context, const Variable<Scalar>& source,
                              const RowOffsets& source_rows, const Variable<Scalar>& target,
                              const RowOffsets& target_rows, const AnyScore<Scalar>& target_score = Causal{}) const;

  static void visit(auto& self, auto&& visitor) {
    visitor("encoder", self.encoder);
    visitor("decoder", self.decoder);
  }
};

template <class Scalar>
EncoderDecoder<Scalar>::EncoderDecoder(const TransformerLayerOptions& layer, Index num_encoder_layers,
                                       Index num_decoder_layers, Rng& rng)
    : encoder(layer, num_encoder_layers, rng), decoder(layer, num_decoder_layers, rng) {}

template <class Scalar>
Variable<Scalar> EncoderDecoder<Scalar>::operator()(const Context<Scalar>& context, const Variable<Scalar>& source,
                                                    const RowOffsets& source_rows, const Variable<Scalar>& target,
                                                    const RowOffsets& target_rows,
                                                    const AnyScore<Scalar>& target_score) const {
  return decoder(context, target, target_rows, encoder(context, source, source_rows), source_rows, target_score);
}

EIGENFORMER_TEMPLATE(struct EncoderDecoder);

}  // namespace eigenformer::inline EIGENFORMER_ABI
