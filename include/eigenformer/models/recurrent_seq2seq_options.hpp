// Options of a recurrent sequence-to-sequence model.
#pragma once

#include <array>

#include "eigenformer/core/named_enum.hpp"
#include "eigenformer/kernels/recurrent_cells.hpp"
#include "eigenformer/layers/global_attention.hpp"
#include "eigenformer/layers/recurrent.hpp"
#include "eigenformer/layers/transformer_layer_options.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// How the decoder sees the source. y_t is the embedding of a target token, and s_t is the h of the decoder's last
/// layer. C summarises the source: it is the final h of a recurrent encoder's last layer (of both directions), or the
/// mean of another encoder's outputs. The decoder starts from the final states of a recurrent encoder, or from tanh of
/// a linear map of C.
///
///   every_step  s_t = g(s_(t-1), [y_(t-1) C]); the output is tanh(W_c [s_t y_(t-1) C]).
///               Cho et al. 2014, arXiv 1406.1078.
///   initial     s_t = g(s_(t-1), y_(t-1)); the initial state is all that the decoder knows of the source.
///               Sutskever et al. 2014, arXiv 1409.3215.
///   attention   Each step computes its own context C_t; the output is tanh(W_c [C_t s_t]).
///               Luong et al. 2015, arXiv 1508.04025, equation 5. The additive score is from Bahdanau et al. 2015,
///               arXiv 1409.0473, but the query here is s_t; theirs is s_(t-1).
enum class SourceContext { every_step, initial, attention };

/// Kind of the source encoder.
enum class SourceEncoder {
  recurrent,
  convolution,    // stacked convolutions over embeddings and positions (Gehring et al. 2017, arXiv 1611.02344)
  self_attention  // Transformer encoder
};

constexpr auto enum_names(SourceContext) {
  return std::to_array<EnumName<SourceContext>>({{SourceContext::every_step, "every_step"},
                                                 {SourceContext::initial, "initial"},
                                                 {SourceContext::attention, "attention"}});
}
constexpr auto enum_names(SourceEncoder) {
  return std::to_array<EnumName<SourceEncoder>>({{SourceEncoder::recurrent, "recurrent"},
                                                 {SourceEncoder::convolution, "convolution"},
                                                 {SourceEncoder::self_attention, "self_attention"}});
}

struct RecurrentSeq2SeqOptions {
  Index source_vocabulary_size = 0;
  Index target_vocabulary_size = 0;
  Index width = 256;   // of embeddings
  Index hidden = 256;  // width of the decoder's h and of the encoder's output (of both directions together)
  RecurrentCell cell = RecurrentCell::gru;
  SourceEncoder encoder = SourceEncoder::recurrent;
  bool bidirectional = true;  // of a recurrent encoder
  Index num_encoder_layers = 1;
  Index num_decoder_layers = 1;
  SourceContext context = SourceContext::attention;
  AlignmentScore score = AlignmentScore::additive;
  bool input_feeding = true;  // attention: each step's output is part of the next step's input (Luong, section 3.3)
  double dropout = 0.2;       // of embeddings, between layers, and of the decoder's output
  Index kernel = 3;           // of a convolutional encoder
  Index heads = 4;            // of a self-attention encoder
  Index max_length = 512;
  bool share_embeddings = false;  // one embedding for source and target; needs vocabularies of equal size
  bool tie_output = false;        // the output layer is the target embedding; needs width = hidden

  RecurrentOptions recurrent_encoder() const {
    return {.inputs = width,
            .hidden = bidirectional ? hidden / 2 : hidden,
            .num_layers = num_encoder_layers,
            .cell = cell,
            .bidirectional = bidirectional,
            .dropout = dropout};
  }
  RecurrentOptions recurrent_decoder() const {
    const bool reads_context =
        context == SourceContext::every_step || (context == SourceContext::attention && input_feeding);
    return {.inputs = reads_context ? width + hidden : width,
            .hidden = hidden,
            .num_layers = num_decoder_layers,
            .cell = cell,
            .dropout = dropout};
  }
  TransformerLayerOptions self_attention_layer() const {
    return {.width = hidden, .heads = heads, .dim_feedforward = 2 * hidden, .dropout = dropout, .norm_first = true};
  }
};

namespace detail {

inline void check_options(const RecurrentSeq2SeqOptions& options) {
  check(options.source_vocabulary_size > 0 && options.target_vocabulary_size > 0,
        "RecurrentSeq2Seq: vocabularies have ", options.source_vocabulary_size, " and ", options.target_vocabulary_size,
        " tokens, expected source_vocabulary_size and target_vocabulary_size above 0");
  check(options.width >= 1 && options.hidden >= 1 && options.max_length >= 1, "RecurrentSeq2Seq: width is ",
        options.width, ", hidden is ", options.hidden, ", max_length is ", options.max_length, ", expected 1 or more");
  check(options.num_encoder_layers >= 0 && options.num_decoder_layers >= 1, "RecurrentSeq2Seq: num_encoder_layers is ",
        options.num_encoder_layers, ", num_decoder_layers is ", options.num_decoder_layers,
        ", expected 0 or more and 1 or more");
  check(options.dropout >= 0 && options.dropout < 1, "RecurrentSeq2Seq: dropout is ", options.dropout,
        ", expected 0 or more and less than 1");
  check(!options.share_embeddings || options.source_vocabulary_size == options.target_vocabulary_size,
        "RecurrentSeq2Seq: share_embeddings needs one vocabulary, given are ", options.source_vocabulary_size, " and ",
        options.target_vocabulary_size, " tokens");
  check(!options.tie_output || options.width == options.hidden,
        "RecurrentSeq2Seq: tie_output needs width = hidden, given ", options.width, " and ", options.hidden);
  if (options.encoder == SourceEncoder::recurrent) {
    check(!options.bidirectional || options.hidden % 2 == 0, "RecurrentSeq2Seq: hidden is ", options.hidden,
          ", which does not divide into two directions");
    check(options.num_decoder_layers <= options.num_encoder_layers, "RecurrentSeq2Seq: ", options.num_decoder_layers,
          " decoder layers begin with the states of ", options.num_encoder_layers,
          " encoder layers, expected at least as many encoder layers");
  } else {
    check(options.width == options.hidden,
          "RecurrentSeq2Seq: an encoder that is not recurrent needs width = hidden, given ", options.width, " and ",
          options.hidden);
  }
}

}  // namespace detail

}  // namespace eigenformer::inline EIGENFORMER_ABI
