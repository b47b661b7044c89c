// A recurrent sequence-to-sequence model's options in config.json of a model folder: see options.hpp.
#pragma once

#include <concepts>

#include "eigenformer/io/options.hpp"
#include "eigenformer/models/recurrent_seq2seq.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

template <class Options>
requires std::same_as<std::remove_const_t<Options>, RecurrentSeq2SeqOptions>
void visit_options(Options& options, auto&& visitor) {
  visitor("source_vocabulary_size", options.source_vocabulary_size);
  visitor("target_vocabulary_size", options.target_vocabulary_size);
  visitor("width", options.width);
  visitor("hidden", options.hidden);
  visitor("cell", options.cell);
  visitor("encoder", options.encoder);
  visitor("bidirectional", options.bidirectional);
  visitor("num_encoder_layers", options.num_encoder_layers);
  visitor("num_decoder_layers", options.num_decoder_layers);
  visitor("context", options.context);
  visitor("score", options.score);
  visitor("input_feeding", options.input_feeding);
  visitor("dropout", options.dropout);
  visitor("kernel", options.kernel);
  visitor("heads", options.heads);
  visitor("max_length", options.max_length);
  visitor("share_embeddings", options.share_embeddings);
  visitor("tie_output", options.tie_output);
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
