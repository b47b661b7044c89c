// A sequence-to-sequence model with what surrounds it when it translates text.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "eigenformer/models/recurrent_seq2seq_state.hpp"
#include "eigenformer/models/transformer_state.hpp"
#include "eigenformer/text/tokenizer.hpp"
#include "eigenformer/text/vocabulary.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// One language of a translation model.
struct TranslationSide {
  Vocabulary vocabulary;
  Tokenization tokenization = Tokenization::words;

  /// A sentence's tokens, without begin and end; those not in the vocabulary are Vocabulary::unknown.
  std::vector<Token> encode(std::string_view sentence) const {
    return vocabulary.encode(tokenize(sentence, tokenization));
  }
  std::string decode(std::span<const Token> tokens) const {
    return detokenize(vocabulary.decode(tokens), tokenization);
  }
};

/// Any model that turns a sequence into another: called with a context, a source and a target it gives logits, and
/// decoding_state(model, source, context) is its step function for decode/.
template <class Scalar>
using Seq2Seq = std::variant<Transformer<Scalar>, RecurrentSeq2Seq<Scalar>>;

template <class Scalar>
struct TranslationModel {
  Seq2Seq<Scalar> network;
  TranslationSide source;
  TranslationSide target;
};

}  // namespace eigenformer::inline EIGENFORMER_ABI
