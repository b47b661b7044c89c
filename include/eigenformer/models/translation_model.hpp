// A sequence-to-sequence model with its vocabularies and tokenizations.
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

/// Vocabulary and tokenization of one language of a translation model.
struct TranslationSide {
  Vocabulary vocabulary;
  Tokenization tokenization = Tokenization::words;

  /// Returns a sentence's tokens, without begin and end tokens. Unknown tokens become Vocabulary::unknown.
  std::vector<Token> encode(std::string_view sentence) const {
    return vocabulary.encode(tokenize(sentence, tokenization));
  }
  /// Returns the text of these tokens.
  std::string decode(std::span<const Token> tokens) const {
    return detokenize(vocabulary.decode(tokens), tokenization);
  }
};

/// Any sequence-to-sequence model. model(context, source, target) returns logits, and
/// decoding_state(model, source, context) returns its step function for the searches in decode/.
template <class Scalar>
using Seq2Seq = std::variant<Transformer<Scalar>, RecurrentSeq2Seq<Scalar>>;

/// A model that translates text, with the vocabularies of both languages.
template <class Scalar>
struct TranslationModel {
  Seq2Seq<Scalar> network;
  TranslationSide source;
  TranslationSide target;
};

}  // namespace eigenformer::inline EIGENFORMER_ABI
