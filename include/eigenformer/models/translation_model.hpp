// A sequence-to-sequence model with its vocabularies and tokenizations.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "eigenformer/models/recurrent_seq2seq_state.hpp"
#include "eigenformer/models/transformer_state.hpp"
#include "eigenformer/text/subwords.hpp"
#include "eigenformer/text/tokenizer.hpp"
#include "eigenformer/text/vocabulary.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// Vocabulary and tokenization of one language of a translation model.
struct TranslationSide {
  Vocabulary vocabulary;
  Tokenization tokenization = Tokenization::words;         ///< not used if there is a subword model
  std::shared_ptr<const SubwordModel> subwords = nullptr;  ///< may be shared by both languages

  /// Returns the texts of a sentence's tokens.
  std::vector<std::string> tokenize(std::string_view sentence) const {
    return subwords != nullptr ? subwords->encode(sentence) : eigenformer::tokenize(sentence, tokenization);
  }
  /// Returns a sentence's tokens, without begin and end tokens. Unknown tokens become Vocabulary::unknown.
  std::vector<Token> encode(std::string_view sentence) const { return vocabulary.encode(tokenize(sentence)); }

  /// Returns a sentence's tokens, without begin and end tokens, split at random by the subword model. Sides without a
  /// subword model split as encode() does.
  std::vector<Token> sample(std::string_view sentence, const SubwordSampling& sampling, Rng& rng) const {
    return subwords != nullptr ? vocabulary.encode(subwords->sample(sentence, sampling, rng)) : encode(sentence);
  }
  /// Returns the text of these tokens.
  std::string decode(std::span<const Token> tokens) const {
    const std::vector<std::string> texts = vocabulary.decode(tokens);
    return subwords != nullptr ? subwords->decode(texts) : detokenize(texts, tokenization);
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
