// A Transformer decoder block: masked self-attention, attention to the encoder, then a feed-forward network.
#pragma once

#include "eigenformer/core/detail/compiled.hpp"
#include "eigenformer/layers/feed_forward.hpp"
#include "eigenformer/layers/residual.hpp"
#include "eigenformer/layers/transformer_layer_options.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// What a decoder block keeps while it decodes, and which of it each hypothesis sees.
template <class Scalar>
struct DecoderLayerCache {
  KeyValueCache<Scalar> self;    // of the target so far, a row a step and hypothesis
  KeyValueCache<Scalar> memory;  // of the encoder's result, once a sentence
};
struct DecoderStepRows {
  IndexedKeys self;    // of each hypothesis: its ancestors' rows, and its own last
  IndexedKeys memory;  // of each hypothesis: its sentence's rows
};

/// Vaswani et al. 2017, section 3.1; parameters are named as in torch.nn.TransformerDecoderLayer.
template <class Scalar>
struct DecoderLayer {
  MultiHeadAttention<Scalar> self_attn;
  MultiHeadAttention<Scalar> multihead_attn;  // to the memory
  FeedForward<Scalar> feed_forward;
  LayerNorm<Scalar> norm1;
  LayerNorm<Scalar> norm2;
  LayerNorm<Scalar> norm3;
  ResidualConnection<Scalar> residual;  // around each sub-layer

  DecoderLayer() = default;
  DecoderLayer(const TransformerLayerOptions& options, Rng& rng);

  /// x: [target tokens x width], memory: [source tokens x width], the encoder's result -> [target tokens x width].
  /// A target's row sees the rows of its sequence up to itself, and all of its sequence's memory.
  Variable<Scalar> operator()(const Context<Scalar>& context, const Variable<Scalar>& x, const RowOffsets& rows,
                              const Variable<Scalar>& memory, const RowOffsets& memory_rows,
                              const AttentionPositions<Scalar>& positions = {}) const;

  /// One step of decoding: x has one row a hypothesis, whose key and value are appended to the cache.
  Variable<Scalar> step(const Context<Scalar>& context, const Variable<Scalar>& x, DecoderLayerCache<Scalar>& cache,
                        const DecoderStepRows& rows, const AttentionPositions<Scalar>& positions = {}) const;

  static void visit(auto& self, auto&& visitor) {
    visitor("self_attn", self.self_attn);
    visitor("multihead_attn", self.multihead_attn);
    FeedForward<Scalar>::visit(self.feed_forward, visitor);
    visitor("norm1", self.norm1);
    visitor("norm2", self.norm2);
    visitor("norm3", self.norm3);
  }

 private:
  // The block's body, for any way to attend to the target so far and to the memory.
  template <class AttendSelf, class AttendMemory>
  Variable<Scalar> body(const Context<Scalar>& context, const Variable<Scalar>& x, AttendSelf&& attend_self,
                        AttendMemory&& attend_memory) const;
};

template <class Scalar>
DecoderLayer<Scalar>::DecoderLayer(const TransformerLayerOptions& options, Rng& rng)
    : self_attn(options.self_attention(), rng),
      multihead_attn(options.attention(), rng),
      feed_forward(options.width, options.dim_feedforward, options.activation, options.dropout, options.bias, rng),
      norm1(options.width, options.layer_norm_eps),
      norm2(options.width, options.layer_norm_eps),
      norm3(options.width, options.layer_norm_eps),
      residual(options.residual_connection<Scalar>()) {}

template <class Scalar>
template <class AttendSelf, class AttendMemory>
Variable<Scalar> DecoderLayer<Scalar>::body(const Context<Scalar>& context, const Variable<Scalar>& x,
                                            AttendSelf&& attend_self, AttendMemory&& attend_memory) const {
  const Variable<Scalar> after_self_attention = residual(context, x, norm1, attend_self);
  const Variable<Scalar> after_cross_attention = residual(context, after_self_attention, norm2, attend_memory);
  const auto transform = [&](const Variable<Scalar>& y) { return feed_forward(context, y); };
  return residual(context, after_cross_attention, norm3, transform);
}

template <class Scalar>
Variable<Scalar> DecoderLayer<Scalar>::operator()(const Context<Scalar>& context, const Variable<Scalar>& x,
                                                  const RowOffsets& rows, const Variable<Scalar>& memory,
                                                  const RowOffsets& memory_rows,
                                                  const AttentionPositions<Scalar>& positions) const {
  const AttentionBatch<Scalar> of_memory{.query_rows = rows, .key_rows = memory_rows};
  return body(
      context, x, [&](const Variable<Scalar>& y) { return self_attn(context, y, rows, Causal{}, positions); },
      [&](const Variable<Scalar>& y) { return multihead_attn(context, y, memory, memory, of_memory); });
}

template <class Scalar>
Variable<Scalar> DecoderLayer<Scalar>::step(const Context<Scalar>& context, const Variable<Scalar>& x,
                                            DecoderLayerCache<Scalar>& cache, const DecoderStepRows& rows,
                                            const AttentionPositions<Scalar>& positions) const {
  return body(
      context, x,
      [&](const Variable<Scalar>& y) {
        self_attn.append_to_cache(context, y, cache.self, rows.self.query_rows, rows.self.key_rows, positions);
        return self_attn.attend_to_cache(context, y, cache.self, rows.self, positions);
      },
      [&](const Variable<Scalar>& y) { return multihead_attn.attend_to_cache(context, y, cache.memory, rows.memory); });
}

EIGENFORMER_TEMPLATE(struct DecoderLayer);

}  // namespace eigenformer::inline EIGENFORMER_ABI
