// Transformer encoder block: self-attention, then a feed-forward network.
#pragma once

#include "eigenformer/core/detail/compiled.hpp"
#include "eigenformer/layers/feed_forward.hpp"
#include "eigenformer/layers/residual.hpp"
#include "eigenformer/layers/transformer_layer_options.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// The encoder block of Vaswani et al. 2017, section 3.1. Parameters are named as in torch.nn.TransformerEncoderLayer.
template <class Scalar>
struct EncoderLayer {
  MultiHeadAttention<Scalar> self_attn;
  FeedForward<Scalar> feed_forward;
  LayerNorm<Scalar> norm1;
  LayerNorm<Scalar> norm2;
  ResidualConnection<Scalar> residual;  // around each sub-layer

  EncoderLayer() = default;
  EncoderLayer(const TransformerLayerOptions& options, Rng& rng);

  /// Processes each sequence by itself. `score` applies in addition to self_attn.score. x: [tokens x width] -> [tokens
  /// x width].
  Variable<Scalar> operator()(const Context<Scalar>& context, const Variable<Scalar>& x, const RowOffsets& rows = {},
                              const AnyScore<Scalar>& score = {},
                              const AttentionPositions<Scalar>& positions = {}) const;

  static void visit(auto& self, auto&& visitor) {
    visitor("self_attn", self.self_attn);
    FeedForward<Scalar>::visit(self.feed_forward, visitor);
    visitor("norm1", self.norm1);
    visitor("norm2", self.norm2);
  }
};

template <class Scalar>
EncoderLayer<Scalar>::EncoderLayer(const TransformerLayerOptions& options, Rng& rng)
    : self_attn(options.self_attention(), rng),
      feed_forward(options.width, options.dim_feedforward, options.activation, options.activation_dropout_rate(),
                   options.bias, rng),
      norm1(options.norm<Scalar>()),
      norm2(options.norm<Scalar>()),
      residual(options.residual_connection<Scalar>()) {}

template <class Scalar>
Variable<Scalar> EncoderLayer<Scalar>::operator()(const Context<Scalar>& context, const Variable<Scalar>& x,
                                                  const RowOffsets& rows, const AnyScore<Scalar>& score,
                                                  const AttentionPositions<Scalar>& positions) const {
  const auto attend = [&](const Variable<Scalar>& y) { return self_attn(context, y, rows, score, positions); };
  const auto transform = [&](const Variable<Scalar>& y) { return feed_forward(context, y); };
  const Variable<Scalar> after_self_attention = residual(context, x, norm1, attend);
  return residual(context, after_self_attention, norm2, transform);
}

EIGENFORMER_TEMPLATE(struct EncoderLayer);

}  // namespace eigenformer::inline EIGENFORMER_ABI
