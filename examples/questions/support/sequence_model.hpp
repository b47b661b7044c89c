// The model of most questions: a stack of Transformer blocks that classifies every token.
#pragma once

#include <vector>

#include "eigenformer/layers/attention_positions.hpp"
#include "eigenformer/layers/embedding.hpp"
#include "eigenformer/layers/encoder_layer.hpp"
#include "eigenformer/layers/positions.hpp"
#include "eigenformer/text/tokens.hpp"

namespace questions {

namespace ef = eigenformer;
using ef::Index;

struct SequenceModelOptions {
  Index vocabulary_size = 0;
  Index classes = 0;  // of a token
  Index layers = 2;
  ef::TransformerLayerOptions layer{.width = 64, .heads = 4, .dim_feedforward = 128, .dropout = 0, .norm_first = true};
  ef::PositionEncoding positions = ef::PositionEncoding::sinusoidal;
  Index max_length = 64;          // learned: the number of positions
  Index relative_distance = 8;    // relative: larger distances count as this one
  ef::RelativeBuckets buckets{};  // bucketed

  ef::TransformerLayerOptions block() const {
    ef::TransformerLayerOptions options = layer;
    if (positions == ef::PositionEncoding::relative) options.relative_distance = relative_distance;
    return options;
  }
  ef::AttentionPositionsOptions attention_positions() const {
    return {.encoding = positions,
            .heads = layer.heads,
            .head_width = layer.head_width == 0 ? layer.width / std::max<Index>(layer.heads, 1) : layer.head_width,
            .buckets = buckets,
            .deviation = 1 / std::sqrt(static_cast<double>(layer.width))};
  }
};

/// A token classifier: an encoder with Unmasked, a language model with Causal.
struct SequenceModel {
  ef::Embedding<float> embedding;
  ef::Positions<float> positions;
  ef::AttentionPositions<float> attention_positions;  // shared by all layers
  std::vector<ef::EncoderLayer<float>> layers;
  ef::LayerNorm<float> norm;  // empty: none
  ef::Linear<float> output;

  SequenceModel(const SequenceModelOptions& options, ef::Rng& rng)
      : embedding(options.vocabulary_size, options.layer.width, rng),
        positions(options.positions, options.max_length, options.layer.width, rng),
        attention_positions(options.attention_positions(), rng) {
    for (Index i = 0; i < options.layers; ++i) layers.emplace_back(options.block(), rng);
    if (options.layer.norm_first) norm = ef::LayerNorm<float>(options.layer.width);
    output = ef::Linear<float>(options.layer.width, options.classes, rng);
  }

  /// Returns the activations [tokens x width] after the embedding and after each block.
  std::vector<ef::Variable<float>> depths(const ef::Context<float>& context, const ef::Tokens& tokens,
                                          const ef::AnyScore<float>& mask = ef::Unmasked{}) const {
    const auto factor = std::sqrt(static_cast<float>(embedding.width()));
    const ef::Variable<float> embedded = ef::scale(context, embedding(context, tokens.ids), factor);
    std::vector<ef::Variable<float>> x{positions(context, embedded, tokens.rows)};
    for (const ef::EncoderLayer<float>& layer : layers)
      x.push_back(layer(context, x.back(), tokens.rows, mask, attention_positions));
    return x;
  }

  /// Returns the logits: [tokens x classes].
  ef::Variable<float> operator()(const ef::Context<float>& context, const ef::Tokens& tokens,
                                 const ef::AnyScore<float>& mask = ef::Unmasked{}) const {
    const ef::Variable<float> x = depths(context, tokens, mask).back();
    return output(context, norm.empty() ? x : norm(context, x));
  }

  static void visit(auto& self, auto&& visitor) {
    visitor("embedding", self.embedding);
    visitor("positions", self.positions);
    visitor("attention_positions", self.attention_positions);
    visitor("layers", self.layers);
    visitor("norm", self.norm);
    visitor("output", self.output);
  }
};

}  // namespace questions
