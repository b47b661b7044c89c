// Subword models of SentencePiece (Kudo and Richardson 2018, arXiv 1808.06226): unigram models and BPE. This optional
// header needs the library SentencePiece (Debian: libsentencepiece-dev) and the CMake target
// eigenformer::sentencepiece.
//
//   const auto subwords = ef::train_sentencepiece(lines, {.vocabulary_size = 8000});
//   const ef::TranslationSide side{.vocabulary = ef::subword_vocabulary(*subwords), .subwords = subwords};
//   const auto model = ef::load_translation_model<float>("model/", {}, ef::read_sentencepiece);
#pragma once

#include <sentencepiece_processor.h>
#include <sentencepiece_trainer.h>

#include <cmath>
#include <filesystem>
#include <limits>
#include <locale>
#include <memory>
#include <span>
#include <sstream>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "eigenformer/core/files.hpp"
#include "eigenformer/text/detail/bpe_dropout.hpp"
#include "eigenformer/text/detail/unigram_sampling.hpp"
#include "eigenformer/text/subwords.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

struct SentencePieceOptions {
  Index vocabulary_size = 8000;  ///< upper limit, with three special tokens; small texts give fewer pieces
  SubwordType type = SubwordType::unigram;
  double character_coverage = 0.9995;      ///< share of the text's characters that pieces cover, 0.98 to 1
  bool byte_fallback = false;              ///< whether other characters become byte pieces; otherwise they are unknown
  std::string normalization = "nmt_nfkc";  ///< SentencePiece's name: also nfkc, nmt_nfkc_cf, nfkc_cf, identity
};

namespace detail {

/// SentencePiece's error type. Its own name does not appear here, because X11's headers define a macro of that name.
using SentencePieceStatus = decltype(std::declval<const sentencepiece::SentencePieceProcessor&>().status());

/// Throws if SentencePiece reports an error. Drops the source location from SentencePiece's message.
inline void check_status(const SentencePieceStatus& status, std::string_view where) {
  if (status.ok()) return;
  std::string_view message = status.error_message();
  const std::size_t bracket = message.find("] ");
  if (bracket != std::string_view::npos && bracket + 2 < message.size()) message.remove_prefix(bracket + 2);
  fail(where, ": ", message);
}

/// Returns whether SentencePiece can learn from a line. SentencePiece drops control characters, treats some others as
/// spaces, and skips lines with U+2585, its own mark. It aborts the program if no text is left.
inline bool has_letters(std::string_view line) {
  if (line.find("\xE2\x96\x85") != std::string_view::npos) return false;
  for (const CodePoint& c : CodePoints(line)) {
    const bool is_control = c.value < 0x20 || (c.value >= 0x7F && c.value < 0xA0);
    const bool is_space = is_white_space(c.value) || (c.value >= 0x200B && c.value <= 0x200F) || c.value == 0x2581 ||
                          c.value == 0xFEFF || c.value == 0xFFFD;
    if (!is_control && !is_space) return true;
  }
  return false;
}

/// Hands lines to SentencePiece one by one.
class LineIterator final : public sentencepiece::SentenceIterator {
 public:
  explicit LineIterator(std::span<const std::string> lines) : lines_(lines) {}
  bool done() const override { return next_ == lines_.size(); }
  void Next() override { ++next_; }
  const std::string& value() const override { return lines_[next_]; }
  SentencePieceStatus status() const override { return {}; }

 private:
  std::span<const std::string> lines_;
  std::size_t next_ = 0;
};

/// A SentencePiece model. Draws random splits with our Rng, because SentencePiece's own generators belong to threads
/// and cannot be seeded again.
class SentencePieceModel final : public SubwordModel {
 public:
  SentencePieceModel(std::string bytes, const std::string& name)
      : SentencePieceModel(read_sentencepiece_file(bytes, name), std::move(bytes), name) {}

  SubwordType type() const override { return type_; }
  std::vector<std::string> pieces() const override { return pieces_; }
  const std::string& bytes() const override { return bytes_; }

  std::vector<std::string> encode(std::string_view line) const override {
    check_utf8(line, "SentencePiece");
    std::vector<std::string> pieces;
    check_status(processor_.Encode(line, &pieces), "SentencePiece");
    return pieces;
  }

  std::vector<std::string> sample(std::string_view line, const SubwordSampling& sampling, Rng& rng) const override {
    check(sampling.alpha >= 0 && std::isfinite(sampling.alpha), "SubwordSampling: alpha is ", sampling.alpha,
          ", expected a finite number of 0 or more");
    check(sampling.n_best >= 0 && sampling.n_best <= 1024, "SubwordSampling: n_best is ", sampling.n_best,
          ", expected 0 to 1024");
    check(sampling.bpe_dropout >= 0 && sampling.bpe_dropout <= 1, "SubwordSampling: bpe_dropout is ",
          sampling.bpe_dropout, ", expected 0 to 1");
    const std::string text = table_.text_of(encode(line));  // normalised
    if (type_ == SubwordType::bpe) return table_.pieces_of(BpeSplit(text, table_, sampling.bpe_dropout, rng).parts());
    const SubwordLattice lattice(text, table_);
    return table_.pieces_of(sampling.n_best == 0
                                ? lattice.sample(sampling.alpha, rng)
                                : lattice.sample_best(sampling.alpha, static_cast<std::size_t>(sampling.n_best), rng));
  }

  std::string decode(std::span<const std::string> pieces) const override {
    std::string line;
    const std::vector<std::string> copy(pieces.begin(), pieces.end());
    check_status(processor_.Decode(copy, &line), "SentencePiece");
    return line;
  }

 private:
  SentencePieceModel(const SentencePieceFile& file, std::string&& bytes, const std::string& name)
      : bytes_(std::move(bytes)), type_(file.type), table_(file) {
    for (const SentencePieceEntry& piece : file.pieces)
      if (piece.kind == PieceKind::normal || piece.kind == PieceKind::user_defined || piece.kind == PieceKind::byte)
        pieces_.push_back(piece.text);
    check_status(processor_.LoadFromSerializedProto(bytes_), name);
  }

  std::string bytes_;
  SubwordType type_;
  std::vector<std::string> pieces_;
  SubwordTable table_;
  sentencepiece::SentencePieceProcessor processor_;
};

}  // namespace detail

/// Makes a subword model from the bytes of a SentencePiece file. Serves load_translation_model as a SubwordReader.
/// Throws if the bytes are damaged, or if the model is neither unigram nor BPE. name: the file's name in messages.
inline std::shared_ptr<const SubwordModel> read_sentencepiece(std::string bytes, const std::string& name) {
  return std::make_shared<const detail::SentencePieceModel>(std::move(bytes), name);
}

/// Loads a model file, such as spm_train writes. Throws as read_sentencepiece does, and if the file cannot be read. The
/// message names the file.
inline std::shared_ptr<const SubwordModel> load_sentencepiece(const std::filesystem::path& path) {
  return read_sentencepiece(read_file(path), path_text(path));
}

/// Learns a model from lines of text. The result depends only on the lines and the options. Throws if a line is not
/// UTF-8, an option is out of range, or the vocabulary is too small for the characters.
inline std::shared_ptr<const SubwordModel> train_sentencepiece(std::span<const std::string> lines,
                                                               const SentencePieceOptions& options = {}) {
  constexpr const char* where = "train_sentencepiece";
  check(options.vocabulary_size >= 4 && options.vocabulary_size <= 10'000'000, where, ": vocabulary_size is ",
        options.vocabulary_size, ", expected 4 to 10000000");
  check(options.character_coverage >= 0.98 && options.character_coverage <= 1, where, ": character_coverage is ",
        options.character_coverage, ", expected 0.98 to 1");
  check(!options.normalization.empty(), where, ": normalization is empty, expected a name such as nmt_nfkc");
  bool has_text = false;
  for (std::size_t i = 0; i < lines.size(); ++i) {
    check_utf8(lines[i], std::string(where) + ": line " + std::to_string(i + 1));
    has_text = has_text || detail::has_letters(lines[i]);
  }
  check(has_text, where, ": there is no text in ", lines.size(), " lines");

  std::ostringstream coverage;
  coverage.imbue(std::locale::classic());
  coverage.precision(std::numeric_limits<double>::max_digits10);
  coverage << options.character_coverage;
  const std::unordered_map<std::string, std::string> arguments{
      {"model_type", std::string(to_string(options.type))},
      {"vocab_size", std::to_string(options.vocabulary_size)},
      {"character_coverage", coverage.str()},
      {"byte_fallback", options.byte_fallback ? "true" : "false"},
      {"normalization_rule_name", options.normalization},
      {"hard_vocab_limit", "false"},          // fewer pieces than asked for are no error
      {"max_sentence_length", "1073741824"},  // otherwise it leaves out long lines
      {"num_threads", "8"},                   // the result depends on this number
      {"minloglevel", "3"}};                  // it prints nothing
  detail::LineIterator iterator(lines);
  std::string bytes;
  detail::check_status(sentencepiece::SentencePieceTrainer::Train(arguments, &iterator, &bytes), where);
  return read_sentencepiece(std::move(bytes), where);
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
