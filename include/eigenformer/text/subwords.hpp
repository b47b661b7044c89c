// Subword models: trained models that split text into pieces of words. This header declares their interface.
// sentencepiece.hpp implements it with the library SentencePiece. Code that only passes models on needs this header
// alone.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "eigenformer/core/named_enum.hpp"
#include "eigenformer/core/rng.hpp"
#include "eigenformer/text/vocabulary.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// How a subword model chooses among the ways to split a text.
/// - unigram: takes the most probable split, if pieces are drawn independently (Kudo 2018, arXiv 1804.10959).
/// - bpe: byte-pair encoding. Joins neighbouring pieces in a learned order (Sennrich et al. 2016, arXiv 1508.07909).
enum class SubwordType { unigram, bpe };

constexpr auto enum_names(SubwordType) {
  return std::to_array<EnumName<SubwordType>>({{SubwordType::unigram, "unigram"}, {SubwordType::bpe, "bpe"}});
}

/// How to split a text at random, so that a model sees it split in many ways in training (subword regularisation).
///
/// Unigram models draw one of the n_best most probable splits, or of all splits if n_best is 0. The probability of a
/// split with log probability s is proportional to exp(alpha * s) (Kudo 2018, eq. 7).
///
/// BPE models skip each join with the probability bpe_dropout (Provilkov et al. 2020, arXiv 1910.13267). As
/// in SentencePiece, a skipped join is not tried again; the paper's algorithm 1 may try it again at the next step.
struct SubwordSampling {
  double alpha = 0.1;        ///< 0 makes all splits equally likely; larger values favour probable ones
  Index n_best = 0;          ///< 0: all splits; else at most 1024
  double bpe_dropout = 0.1;  ///< from 0 to 1; 1 splits into characters
};

/// A trained model that splits text into pieces. All functions may be called by several threads at once.
class SubwordModel {
 public:
  SubwordModel() = default;
  SubwordModel(const SubwordModel&) = delete;
  SubwordModel& operator=(const SubwordModel&) = delete;
  virtual ~SubwordModel() = default;

  virtual SubwordType type() const = 0;

  /// Returns the pieces of a line. A part that the model cannot split becomes a piece that is not in pieces(). Throws
  /// if the line is not UTF-8.
  virtual std::vector<std::string> encode(std::string_view line) const = 0;

  /// Returns pieces of a line, split at random. The result depends only on the line, the sampling and the state of
  /// `rng`. Throws if the line is not UTF-8 or an option is out of range.
  virtual std::vector<std::string> sample(std::string_view line, const SubwordSampling& sampling, Rng& rng) const = 0;

  /// Returns the line that these pieces spell. Accepts any pieces, because a translation model may produce any.
  virtual std::string decode(std::span<const std::string> pieces) const = 0;

  /// Returns all pieces that a text can be split into, in the order of their numbers in the model.
  virtual std::vector<std::string> pieces() const = 0;

  /// Returns the model as the bytes of its file.
  virtual const std::string& bytes() const = 0;
};

/// Makes a subword model from the bytes of a file, such as read_sentencepiece. name: the file's name in messages.
using SubwordReader = std::function<std::shared_ptr<const SubwordModel>(std::string bytes, const std::string& name)>;

/// Returns the vocabulary of a subword model: the special tokens, then the model's pieces in their order. If
/// SentencePiece trained the model with default options, token numbers equal its piece numbers.
inline Vocabulary subword_vocabulary(const SubwordModel& model) {
  const Vocabulary specials;
  std::vector<std::string> tokens(specials.tokens().begin(), specials.tokens().end());
  for (std::string& piece : model.pieces())
    if (!specials.contains(piece)) tokens.push_back(std::move(piece));
  return Vocabulary(std::move(tokens));
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
