// Transformer decoder block: masked self-attention, attention to the encoder, then a feed-forward network.
#pragma once

#include "eigenformer/core/detail/compiled.hpp"
#include "eigenformer/layers/feed_forward.hpp"
#include "eigenformer/layers/residual.hpp"
#include "eigenformer/layers/transformer_layer_options.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// The cached keys and values that a decoder block reads in a step of decoding.
template <class Scalar>
struct DecoderCaches {
  KeyValueCache<Scalar>& self;          // the target so far; the last extend() added one token to each sequence
  const KeyValueCache<Scalar>& memory;  // the encoder's output, with the same sequences as `self`
  Index layer = 0;                      // in both caches
  AttentionObserver<Scalar>* observer = nullptr;  // receives the weights of attention to `memory`, if not null
};

/// The sequences of a decoder block's call, and how target tokens attend to one another.
template <class Scalar>
struct DecoderBatch {
  RowOffsets rows{};                                      // the target sequences; empty: one sequence
  RowOffsets memory_rows{};                               // the source sequences, one per target sequence; empty: one
  AnyScore<Scalar> target_score = Causal{};               // as tgt_mask of torch.nn.TransformerDecoderLayer
  const AttentionPositions<Scalar>* positions = nullptr;  // null: none
};

/// The decoder block of Vaswani et al. 2017, section 3.1. Parameters are named as in torch.nn.TransformerDecoderLayer.
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

  /// Processes whole target sequences; memory is the encoder's output. A target token attends to its own sequence up to
  /// and including itself, and to all memory rows of the same sequence. The scores of self_attn and multihead_attn
  /// apply in addition. x: [target tokens x width], memory: [source tokens x width] -> [target tokens x width].
  Variable<Scalar> operator()(const Context<Scalar>& context, const Variable<Scalar>& x, const RowOffsets& rows,
                              const Variable<Scalar>& memory, const RowOffsets& memory_rows,
                              const AttentionPositions<Scalar>& positions = {}) const {
    return (*this)(context, x, memory, {.rows = rows, .memory_rows = memory_rows, .positions = &positions});
  }
  /// Processes whole target sequences. batch.target_score selects the tokens of its sequence that a target token
  /// attends to. With Unmasked{} it attends to all, as in torch.nn.TransformerDecoderLayer without tgt_mask. x: [target
  /// tokens x width], memory: [source tokens x width] -> [target tokens x width].
  Variable<Scalar> operator()(const Context<Scalar>& context, const Variable<Scalar>& x, const Variable<Scalar>& memory,
                              const DecoderBatch<Scalar>& batch) const;

  /// Decodes one step: writes the keys and values of x to caches.self, then attends to both caches. x: the newest token
  /// of each sequence, [sequences x width] -> [sequences x width].
  Variable<Scalar> step(const Context<Scalar>& context, const Variable<Scalar>& x, const DecoderCaches<Scalar>& caches,
                        const AttentionPositions<Scalar>& positions = {}) const;

  static void visit(auto& self, auto&& visitor) {
    visitor("self_attn", self.self_attn);
    visitor("multihead_attn", self.multihead_attn);
    FeedForward<Scalar>::visit(self.feed_forward, visitor);
    visitor("norm1", self.norm1);
    visitor("norm2", self.norm2);
    visitor("norm3", self.norm3);
  }

 private:
  // The block with the two attentions as arguments, shared by operator() and step.
  template <class AttendSelf, class AttendMemory>
  Variable<Scalar> body(const Context<Scalar>& context, const Variable<Scalar>& x, AttendSelf&& attend_self,
                        AttendMemory&& attend_memory) const;
};

template <class Scalar>
DecoderLayer<Scalar>::DecoderLayer(const TransformerLayerOptions& options, Rng& rng)
    : self_attn(options.self_attention(), rng),
      multihead_attn(options.attention(), rng),
      feed_forward(options.width, options.dim_feedforward, options.activation, options.activation_dropout_rate(),
                   options.bias, rng),
      norm1(options.norm<Scalar>()),
      norm2(options.norm<Scalar>()),
      norm3(options.norm<Scalar>()),
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
                                                  const Variable<Scalar>& memory,
                                                  const DecoderBatch<Scalar>& batch) const {
  const AttentionBatch<Scalar> of_target{
      .query_rows = batch.rows, .key_rows = batch.rows, .score = batch.target_score, .positions = batch.positions};
  const AttentionBatch<Scalar> of_memory{.query_rows = batch.rows, .key_rows = batch.memory_rows};
  return body(
      context, x, [&](const Variable<Scalar>& y) { return self_attn(context, y, y, y, of_target); },
      [&](const Variable<Scalar>& y) { return multihead_attn(context, y, memory, memory, of_memory); });
}

template <class Scalar>
Variable<Scalar> DecoderLayer<Scalar>::step(const Context<Scalar>& context, const Variable<Scalar>& x,
                                            const DecoderCaches<Scalar>& caches,
                                            const AttentionPositions<Scalar>& positions) const {
  const PageTable& table = caches.self.table();
  const CacheQueries<Scalar> to_memory{.layer = caches.layer,
                                       .query_rows = table.new_tokens(),
                                       .query_offsets = table.new_positions(),
                                       .observer = caches.observer};
  return body(
      context, x,
      [&](const Variable<Scalar>& y) {
        self_attn.append_to_cache(context, y, caches.self, caches.layer, positions);
        return self_attn.attend_to_cache(context, y, caches.self, {.layer = caches.layer}, positions);
      },
      [&](const Variable<Scalar>& y) { return multihead_attn.attend_to_cache(context, y, caches.memory, to_memory); });
}

EIGENFORMER_TEMPLATE(struct DecoderLayer);

}  // namespace eigenformer::inline EIGENFORMER_ABI
