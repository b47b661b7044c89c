// A Transformer with what surrounds it when it translates text.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "eigenformer/models/transformer.hpp"
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

template <class Scalar>
struct TranslationModel {
  Transformer<Scalar> transformer;
  TranslationSide source;
  TranslationSide target;
};

}  // namespace eigenformer::inline EIGENFORMER_ABI
