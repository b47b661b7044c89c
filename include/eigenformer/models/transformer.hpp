// The encoder-decoder Transformer of "Attention Is All You Need" (Vaswani et al. 2017, arXiv 1706.03762).
#pragma once

#include <algorithm>
#include <cmath>
#include <span>

#include "eigenformer/core/detail/compiled.hpp"
#include "eigenformer/layers/decoder.hpp"
#include "eigenformer/layers/embedding.hpp"
#include "eigenformer/layers/encoder.hpp"
#include "eigenformer/layers/layer_score.hpp"
#include "eigenformer/layers/positions.hpp"
#include "eigenformer/ops/cross_entropy.hpp"
#include "eigenformer/text/tokens.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// Options of a Transformer. The defaults are the paper's base model.
///
///   TransformerOptions options{.source_vocabulary_size = 8000, .target_vocabulary_size = 8000};
///   options.layer.width = 256;
struct TransformerOptions {
  Index source_vocabulary_size = 0;
  Index target_vocabulary_size = 0;
  Index num_encoder_layers = 6;
  Index num_decoder_layers = 6;
  /// Options of every layer. Its embedding_dropout applies to the sums of embeddings and positions (section 5.4). Leave
  /// its relative_distance at 0 and set the one below.
  TransformerLayerOptions layer{};
  PositionEncoding positions = PositionEncoding::sinusoidal;
  Index max_length = 512;        // learned: number of positions; other encodings compute later positions on demand
  Index relative_distance = 16;  // relative: clipping distance k in every layer
  Index buckets = 32;            // bucketed: biases per head, in the encoder and in the decoder
  Index max_distance = 128;      // bucketed: this and greater distances share the last bucket
  double rotary_base = 10000;    // rotary
  RotaryScaling rope_scaling{};  // rotary: for sequences longer than in training
  bool share_embeddings = true;  // one embedding for source and target; needs vocabularies of equal size
  bool tie_output = true;        // the output layer is the target embedding (section 3.4)
  LayerScores encoder_scores{};  // of each encoder layer's self-attention
  LayerScores decoder_scores{};  // of each decoder layer's self-attention, in addition to the causal mask
  LayerScores memory_scores{};   // of each decoder layer's attention to the encoder's output
  /// The decoder layer, from 1, whose attention to the encoder's output is the alignment of a translation. 0: the last.
  Index alignment_layer = 0;
  /// The head of that layer, from 1. guided_loss() trains it to align words. 0: the mean over all heads.
  Index alignment_head = 0;

  /// Returns the options that the layers are built with: `layer`, plus relative_distance if `positions` is relative.
  TransformerLayerOptions layer_with_positions() const {
    TransformerLayerOptions options = layer;
    options.relative_distance = positions == PositionEncoding::relative ? relative_distance : 0;
    return options;
  }

  /// Returns the attention positions' options: of the encoder if `bidirectional`, else of the decoder.
  AttentionPositionsOptions attention_positions(bool bidirectional) const {
    const Index head_width = layer.head_width == 0 ? layer.width / std::max<Index>(layer.heads, 1) : layer.head_width;
    return {.encoding = positions,
            .heads = layer.heads,
            .head_width = head_width,
            .buckets = {.buckets = buckets, .max_distance = max_distance, .bidirectional = bidirectional},
            .deviation = 1 / std::sqrt(static_cast<double>(layer.width)),
            .rotary_base = rotary_base,
            .rotary_positions = stored_positions(max_length, head_width),
            .rope_scaling = rope_scaling};
  }

  /// Returns Transformer-Tiny of Wu et al. 2021 ("Good for Misconceived Reasons"): four layers of width 128.
  static TransformerOptions tiny() {
    return {.num_encoder_layers = 4,
            .num_decoder_layers = 4,
            .layer = {.width = 128, .heads = 4, .dim_feedforward = 256, .dropout = 0.3}};
  }
  /// Returns the paper's base model (its table 3).
  static TransformerOptions base() { return {}; }
};

/// The encoder-decoder Transformer of Vaswani et al. 2017.
template <class Scalar>
struct Transformer {
  TransformerOptions options;
  Embedding<Scalar> source_embedding;
  Embedding<Scalar> target_embedding;  // empty: the source embedding serves both
  Linear<Scalar> generator;            // empty: the target embedding is the output layer
  Positions<Scalar> positions;
  Encoder<Scalar> encoder;
  Decoder<Scalar> decoder;
  Dropout<Scalar> dropout;

  Transformer() = default;

  /// Initialises linear weights by Xavier's rule. Throws if the options are inconsistent, or name a score that
  /// `scores` does not have.
  Transformer(const TransformerOptions& options, Rng& rng, const NamedScores<Scalar>& scores = {});

  /// Returns the logits of each next target token: [target tokens x target vocabulary size].
  /// target: the decoder's input, i.e. the begin token followed by the tokens so far.
  Variable<Scalar> operator()(const Context<Scalar>& context, const Tokens& source, const Tokens& target) const;

  /// Returns the loss [1 x 1] of predicting batch.next: the cross entropy of the logits. The matrix of all logits is
  /// never materialised, so this also works for large vocabularies.
  Variable<Scalar> loss(const Context<Scalar>& context, const TranslationBatch& batch,
                        const CrossEntropyOptions& loss_options = {}) const;

  /// Returns the encoder's output, which is the decoder's memory: [source tokens x width].
  Variable<Scalar> encode(const Context<Scalar>& context, const Tokens& source) const;

  /// Returns the decoder's output, before the output layer: [target tokens x width].
  Variable<Scalar> decode(const Context<Scalar>& context, const Tokens& target, const Variable<Scalar>& memory,
                          const RowOffsets& memory_rows) const;

  /// Returns embeddings times sqrt(width) (section 3.4) plus positions, after dropout: [tokens x width].
  Variable<Scalar> embed(const Context<Scalar>& context, const Embedding<Scalar>& embedding,
                         std::span<const Token> tokens, const RowOffsets& rows) const;

  /// Returns target embeddings times sqrt(width) plus the encodings of the given positions, after dropout, for decoding
  /// step by step: [tokens x width]. at_positions: one per token.
  Variable<Scalar> embed_at(const Context<Scalar>& context, std::span<const Token> tokens,
                            std::span<const Index> at_positions) const;

  /// Applies the output layer to rows of the decoder's output. x: [n x width] -> [n x target vocabulary size].
  Variable<Scalar> logits(const Context<Scalar>& context, const Variable<Scalar>& x) const;

  const Embedding<Scalar>& target_embedding_used() const {
    return target_embedding.empty() ? source_embedding : target_embedding;
  }

  /// Returns the attention whose weights are the alignment: see TransformerOptions::alignment_layer. Throws if the
  /// decoder has no layers.
  const MultiHeadAttention<Scalar>& alignment_attention() const {
    check(!decoder.layers.empty(), "Transformer: the decoder has no layers, and so no alignments");
    const Index layer = options.alignment_layer;
    return (layer == 0 ? decoder.layers.back() : decoder.layers[static_cast<std::size_t>(layer - 1)]).multihead_attn;
  }

  /// Returns the weight of the output layer, [target vocabulary size x width]: the target embedding if tied.
  const Parameter<Scalar>& output_weight() const {
    return generator.empty() ? target_embedding_used().weight : generator.weight;
  }

  static void visit(auto& self, auto&& visitor) {
    visitor("source_embedding", self.source_embedding);
    visitor("target_embedding", self.target_embedding);
    visitor("generator", self.generator);
    visitor("positions", self.positions);
    visitor("encoder", self.encoder);
    visitor("decoder", self.decoder);
  }
};

template <class Scalar>
Transformer<Scalar>::Transformer(const TransformerOptions& chosen, Rng& rng, const NamedScores<Scalar>& scores)
    : options(chosen), dropout{chosen.layer.embedding_dropout_rate()} {
  check(options.source_vocabulary_size > 0 && options.target_vocabulary_size > 0, "Transformer: vocabularies have ",
        options.source_vocabulary_size, " and ", options.target_vocabulary_size,
        " tokens, expected source_vocabulary_size and target_vocabulary_size above 0");
  check(options.layer.width >= 1 && options.layer.dim_feedforward >= 1 && options.max_length >= 1,
        "Transformer: width is ", options.layer.width, ", dim_feedforward ", options.layer.dim_feedforward,
        ", max_length ", options.max_length, ", expected 1 or more");
  options.layer.check_ranges();
  check(options.num_encoder_layers >= 0 && options.num_decoder_layers >= 0, "Transformer: num_encoder_layers is ",
        options.num_encoder_layers, ", num_decoder_layers ", options.num_decoder_layers, ", expected 0 or more");
  check(options.positions != PositionEncoding::relative || options.relative_distance >= 1,
        "Transformer: relative_distance is ", options.relative_distance, ", expected 1 or more");
  check(options.layer.relative_distance == 0, "Transformer: layer.relative_distance is ",
        options.layer.relative_distance, ", expected 0; set positions to relative, and relative_distance beside it");
  check(!options.share_embeddings || options.source_vocabulary_size == options.target_vocabulary_size,
        "Transformer: share_embeddings needs one vocabulary, given are ", options.source_vocabulary_size, " and ",
        options.target_vocabulary_size, " tokens");
  check(options.alignment_layer >= 0 && options.alignment_layer <= options.num_decoder_layers &&
            options.alignment_head >= 0 && options.alignment_head <= options.layer.heads,
        "Transformer: alignment_layer is ", options.alignment_layer, " and alignment_head ", options.alignment_head,
        ", expected at most ", options.num_decoder_layers, " and ", options.layer.heads);
  source_embedding = Embedding<Scalar>(options.source_vocabulary_size, options.layer.width, rng);
  if (!options.share_embeddings)
    target_embedding = Embedding<Scalar>(options.target_vocabulary_size, options.layer.width, rng);
  if (!options.tie_output) generator = Linear<Scalar>(options.layer.width, options.target_vocabulary_size, rng);
  positions = Positions<Scalar>(options.positions, options.max_length, options.layer.width, rng);
  encoder = Encoder<Scalar>(options.layer_with_positions(), options.num_encoder_layers, rng);
  decoder = Decoder<Scalar>(options.layer_with_positions(), options.num_decoder_layers, rng);
  encoder.positions = AttentionPositions<Scalar>(options.attention_positions(true), rng);
  decoder.positions = AttentionPositions<Scalar>(options.attention_positions(false), rng);
  for (Index i = 0; i < options.num_encoder_layers; ++i)
    score_of_layer(options.encoder_scores, i).apply_to(encoder.layers[static_cast<std::size_t>(i)].self_attn, scores);
  for (Index i = 0; i < options.num_decoder_layers; ++i) {
    DecoderLayer<Scalar>& layer = decoder.layers[static_cast<std::size_t>(i)];
    score_of_layer(options.decoder_scores, i).apply_to(layer.self_attn, scores);
    score_of_layer(options.memory_scores, i).apply_to(layer.multihead_attn, scores);
  }
}

template <class Scalar>
Variable<Scalar> Transformer<Scalar>::embed(const Context<Scalar>& context, const Embedding<Scalar>& embedding,
                                            std::span<const Token> tokens, const RowOffsets& rows) const {
  const Variable<Scalar> vectors =
      scale(context, embedding(context, tokens), std::sqrt(static_cast<Scalar>(options.layer.width)));
  return dropout(context, positions(context, vectors, rows));
}

template <class Scalar>
Variable<Scalar> Transformer<Scalar>::embed_at(const Context<Scalar>& context, std::span<const Token> tokens,
                                               std::span<const Index> at_positions) const {
  const Variable<Scalar> vectors =
      scale(context, target_embedding_used()(context, tokens), std::sqrt(static_cast<Scalar>(options.layer.width)));
  return dropout(context, positions.at(context, vectors, at_positions));
}

template <class Scalar>
Variable<Scalar> Transformer<Scalar>::encode(const Context<Scalar>& context, const Tokens& source) const {
  return encoder(context, embed(context, source_embedding, source.ids, source.rows), source.rows);
}

template <class Scalar>
Variable<Scalar> Transformer<Scalar>::decode(const Context<Scalar>& context, const Tokens& target,
                                             const Variable<Scalar>& memory, const RowOffsets& memory_rows) const {
  return decoder(context, embed(context, target_embedding_used(), target.ids, target.rows), target.rows, memory,
                 memory_rows);
}

template <class Scalar>
Variable<Scalar> Transformer<Scalar>::operator()(const Context<Scalar>& context, const Tokens& source,
                                                 const Tokens& target) const {
  return logits(context, decode(context, target, encode(context, source), source.rows));
}

template <class Scalar>
Variable<Scalar> Transformer<Scalar>::logits(const Context<Scalar>& context, const Variable<Scalar>& x) const {
  return linear(context, x, output_weight(), generator.bias);
}

template <class Scalar>
Variable<Scalar> Transformer<Scalar>::loss(const Context<Scalar>& context, const TranslationBatch& batch,
                                           const CrossEntropyOptions& loss_options) const {
  const Variable<Scalar> x = decode(context, batch.target, encode(context, batch.source), batch.source.rows);
  return linear_cross_entropy(context, x, output_weight(), generator.bias, batch.next, loss_options);
}

EIGENFORMER_TEMPLATE(struct Transformer);

}  // namespace eigenformer::inline EIGENFORMER_ABI
