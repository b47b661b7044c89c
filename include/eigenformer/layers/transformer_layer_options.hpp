// Options shared by Transformer encoder and decoder blocks.
#pragma once

#include <array>

#include "eigenformer/core/named_enum.hpp"
#include "eigenformer/kernels/activations.hpp"
#include "eigenformer/layers/multi_head_attention.hpp"
#include "eigenformer/layers/residual.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// When a stack of blocks ends with a norm.
enum class FinalNorm {
  with_norm_first,  // only if norm_first
  always,           // as in torch.nn.Transformer
  never             // as in torch.nn.TransformerEncoder and torch.nn.TransformerDecoder with norm=None
};

constexpr auto enum_names(FinalNorm) {
  return std::to_array<EnumName<FinalNorm>>(
      {{FinalNorm::with_norm_first, "with_norm_first"}, {FinalNorm::always, "always"}, {FinalNorm::never, "never"}});
}

/// Options of EncoderLayer and DecoderLayer. The defaults are those of Vaswani et al. 2017 and of
/// torch.nn.TransformerEncoderLayer. Options that PyTorch also has keep its names. Two names differ: `width` and
/// `heads` are called d_model and nhead there.
struct TransformerLayerOptions {
  Index width = 512;
  Index heads = 8;
  Index key_heads = 0;   // 0: equal to heads
  Index head_width = 0;  // 0: width / heads
  Index dim_feedforward = 2048;
  double dropout = 0.1;  // of sub-layer outputs, and the default of the dropout rates below
  Activation activation = Activation::relu;
  double layer_norm_eps = 1e-5;
  bool norm_first = false;  // true: x + f(norm(x)); false, as in the paper: norm(x + f(x))
  bool residual = true;     // false, for ablations: f(norm(x)), or norm(f(x))
  bool bias = true;         // of the linear layers
  bool norm_bias = true;    // of the norms; torch's bias=False sets both this and `bias` to false
  FinalNorm final_norm = FinalNorm::with_norm_first;  // of Encoder and Decoder
  Index relative_distance = 0;                        // of self-attention: see MultiHeadAttentionOptions
  bool relative_values = true;                        // of self-attention: see MultiHeadAttentionOptions
  QueryKeyNorm qk_norm = QueryKeyNorm::none;          // of all attentions, with layer_norm_eps and norm_bias
  bool sinks = false;                                 // in all attentions; LayerScore::sinks: in one attention
  double attention_dropout = -1;                      // of the attention weights; below 0: dropout
  double activation_dropout = -1;                     // inside the feed-forward network; below 0: dropout
  double embedding_dropout = -1;                      // of embeddings with positions; below 0: dropout

  double attention_dropout_rate() const { return attention_dropout < 0 ? dropout : attention_dropout; }
  double activation_dropout_rate() const { return activation_dropout < 0 ? dropout : activation_dropout; }
  double embedding_dropout_rate() const { return embedding_dropout < 0 ? dropout : embedding_dropout; }

  /// Throws unless width and dim_feedforward are at least 1, and all dropout rates less than 1. `dropout` must be at
  /// least 0.
  void check_ranges() const;

  /// Returns the options of an attention. Throws if check_ranges() does, as the constructors of the layers do.
  MultiHeadAttentionOptions attention() const {
    check_ranges();
    return {.width = width,
            .heads = heads,
            .key_heads = key_heads,
            .head_width = head_width,
            .dropout = attention_dropout_rate(),
            .bias = bias,
            .qk_norm = qk_norm,
            .qk_norm_eps = layer_norm_eps,
            .qk_norm_bias = norm_bias,
            .sinks = sinks};
  }
  MultiHeadAttentionOptions self_attention() const {
    MultiHeadAttentionOptions options = attention();
    options.relative_distance = relative_distance;
    options.relative_values = relative_values;
    return options;
  }
  template <class Scalar>
  LayerNorm<Scalar> norm() const {
    return LayerNorm<Scalar>(width, layer_norm_eps, norm_bias);
  }
  bool has_final_norm() const {
    return final_norm == FinalNorm::always || (final_norm == FinalNorm::with_norm_first && norm_first);
  }
  template <class Scalar>
  ResidualConnection<Scalar> residual_connection() const {
    return {.dropout = {dropout}, .norm_first = norm_first, .enabled = residual};
  }
};

inline void TransformerLayerOptions::check_ranges() const {
  check(width >= 1 && dim_feedforward >= 1, "TransformerLayerOptions: width is ", width, ", dim_feedforward is ",
        dim_feedforward, ", expected 1 or more");
  check(dropout >= 0 && dropout < 1, "TransformerLayerOptions: dropout is ", dropout,
        ", expected 0 or more and less than 1");
  check(attention_dropout < 1 && activation_dropout < 1 && embedding_dropout < 1,
        "TransformerLayerOptions: attention_dropout is ", attention_dropout, ", activation_dropout is ",
        activation_dropout, ", embedding_dropout is ", embedding_dropout,
        ", expected less than 1; below 0 means dropout");
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
