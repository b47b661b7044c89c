// Options of small recurrent seq2seq models, for gradient checks.
#pragma once

#include <string>
#include <vector>

#include "eigenformer/models/recurrent_seq2seq.hpp"

namespace eigenformer::testing {

inline RecurrentSeq2SeqOptions small_recurrent() {
  RecurrentSeq2SeqOptions options;
  options.source_vocabulary_size = 11;
  options.target_vocabulary_size = 11;
  options.width = 6;
  options.hidden = 8;
  options.dropout = 0;
  return options;
}

inline std::string name_of(const RecurrentSeq2SeqOptions& options) {
  return std::string(to_string(options.encoder)) + ' ' + std::string(to_string(options.cell)) + ' ' +
         std::string(to_string(options.context)) + ' ' + std::string(to_string(options.score)) +
         (options.input_feeding ? " fed" : "");
}

/// Returns options that cover every context, score and encoder, and the cells rnn, gru and lstm, but not every
/// combination.
inline std::vector<RecurrentSeq2SeqOptions> kinds_of_recurrent_models() {
  std::vector<RecurrentSeq2SeqOptions> kinds;
  RecurrentSeq2SeqOptions options = small_recurrent();
  for (const SourceContext context : {SourceContext::every_step, SourceContext::initial}) {
    options.context = context;
    kinds.push_back(options);
    options.bidirectional = false;
    options.cell = RecurrentCell::lstm;
  }
  options = small_recurrent();
  for (const AlignmentScore score :
       {AlignmentScore::dot, AlignmentScore::general, AlignmentScore::scaled_dot, AlignmentScore::additive})
    for (const bool fed : {false, true}) {
      options.score = score;
      options.input_feeding = fed;
      options.cell = fed ? RecurrentCell::lstm : RecurrentCell::gru;
      options.num_encoder_layers = 2;
      options.num_decoder_layers = fed ? 2 : 1;
      kinds.push_back(options);
    }
  options.width = options.hidden;
  options.share_embeddings = true;
  options.tie_output = true;
  for (const SourceEncoder encoder : {SourceEncoder::convolution, SourceEncoder::self_attention}) {
    options.encoder = encoder;
    kinds.push_back(options);
    options.context = SourceContext::every_step;
    options.cell = RecurrentCell::rnn;
  }
  return kinds;
}

}  // namespace eigenformer::testing
