// Reads and checks the bytes of a SentencePiece model, a protocol buffer described in SentencePiece's
// sentencepiece_model.proto. Rejects files on which SentencePiece would read out of bounds or abort the program.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

#include "eigenformer/text/detail/double_array.hpp"
#include "eigenformer/text/subwords.hpp"
#include "eigenformer/text/utf8.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

/// How a field of a protocol buffer is stored.
enum class WireType : unsigned { varint = 0, length_delimited = 2, fixed32 = 5 };

/// Reads the fields of a protocol buffer one by one (https://protobuf.dev/programming-guides/encoding).
class ProtobufReader {
 public:
  /// name: the file's name in messages.
  ProtobufReader(std::string_view bytes, std::string_view name) : bytes_(bytes), name_(name) {}

  /// Reads the next field. Returns false at the end. Throws if the field is cut off or of an unknown wire type, or if
  /// its number is too large: SentencePiece reads only the low 32 bits of the tag, and would see another field.
  bool next() {
    if (bytes_.empty()) return false;
    const std::uint64_t tag = read_varint();
    wire_type_ = static_cast<unsigned>(tag & 7);
    number = tag >> 3;
    check(tag <= 0xFFFFFFFF, name_, ": is no SentencePiece model, or damaged: a field has the number ", number,
          ", expected less than 2^29");
    value = 0;
    text = {};
    if (wire_type_ == 0) {
      value = read_varint();
    } else if (wire_type_ == 1) {
      read_bytes(8);
    } else if (wire_type_ == 2) {
      text = read_bytes(read_varint());
    } else if (wire_type_ == 5) {
      value = little_endian_word(read_bytes(4), 0);
    } else {
      fail(name_, ": is no SentencePiece model, or damaged: a field has wire type ", wire_type_);
    }
    return true;
  }

  /// Returns whether this is field `wanted`. Throws if it has another wire type, because SentencePiece would skip the
  /// field.
  bool is(std::uint64_t wanted, WireType type) const {
    check(number != wanted || wire_type_ == static_cast<unsigned>(type), name_, ": is damaged: field ", wanted,
          " has wire type ", wire_type_, ", expected ", static_cast<unsigned>(type));
    return number == wanted;
  }

  std::uint64_t number = 0;  ///< the field's number
  std::uint64_t value = 0;   ///< of a numeric field
  std::string_view text;     ///< of a field with text or a message

 private:
  std::string_view read_bytes(std::uint64_t size) {
    check(size <= bytes_.size(), name_, ": is no SentencePiece model, or damaged: a field has ", size, " bytes, ",
          bytes_.size(), " are left");
    const std::string_view read = bytes_.substr(0, static_cast<std::size_t>(static_cast<Index>(size)));
    bytes_.remove_prefix(read.size());
    return read;
  }
  std::uint64_t read_varint() {
    std::uint64_t number_read = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      const auto byte = static_cast<unsigned char>(read_bytes(1).front());
      number_read |= std::uint64_t{byte & 0x7FU} << shift;
      if (byte < 0x80) return number_read;
    }
    fail(name_, ": is no SentencePiece model, or damaged: a number has more than 64 bits");
  }

  std::string_view bytes_;
  std::string_view name_;
  unsigned wire_type_ = 0;  // of the field
};

/// The kinds of pieces, with their numbers in the file.
enum class PieceKind { normal = 1, unknown = 2, control = 3, user_defined = 4, unused = 5, byte = 6 };

struct SentencePieceEntry {
  std::string text;
  double score = 0;
  PieceKind kind = PieceKind::normal;
};

/// The parts of a model file that sampling needs.
struct SentencePieceFile {
  std::vector<SentencePieceEntry> pieces;
  SubwordType type = SubwordType::unigram;
  bool byte_fallback = false;  // unknown characters become bytes
};

inline SentencePieceEntry read_piece(std::string_view message, std::string_view name, std::size_t number) {
  SentencePieceEntry piece;
  std::uint64_t kind = 1;
  for (ProtobufReader field(message, name); field.next();) {
    if (field.is(1, WireType::length_delimited)) piece.text = field.text;
    if (field.is(2, WireType::fixed32)) {
      const auto bits = static_cast<std::uint32_t>(field.value);
      float score = 0;
      std::memcpy(&score, &bits, sizeof(score));
      piece.score = static_cast<double>(score);
    }
    if (field.is(3, WireType::varint)) kind = field.value;
  }
  check(kind >= 1 && kind <= 6, name, ": piece ", number, " is of kind ", kind, ", expected 1 to 6");
  piece.kind = static_cast<PieceKind>(kind);
  check(std::isfinite(piece.score), name, ": piece ", number, " has a score that is not finite");
  constexpr std::size_t max_size = 4096;  // SentencePiece learns pieces of at most 512 characters
  check(!piece.text.empty() && piece.text.size() <= max_size, name, ": piece ", number, " has ", piece.text.size(),
        " bytes, expected 1 to ", max_size);
  check(find_invalid_utf8(piece.text) == std::string_view::npos && piece.text.find('\0') == std::string::npos, name,
        ": piece ", number, " is not UTF-8, or has a zero byte");
  return piece;
}

/// Checks the rules that normalise characters: the size of a trie, the trie, and zero-terminated replacements.
inline void check_character_rules(std::string_view rules, std::string_view name) {
  if (rules.empty()) return;
  constexpr int max_prefixes = 32;  // SentencePiece's buffer holds 32 results of a look-up
  check(rules.size() > 4, name, ": the character rules have ", rules.size(), " bytes, expected more than 4");
  const std::size_t trie_size = little_endian_word(rules, 0);
  rules.remove_prefix(4);
  check(trie_size < rules.size() && rules.back() == '\0', name, ": the character rules are damaged");
  check_utf8(rules.substr(trie_size), name);
  DoubleArray(rules.substr(0, trie_size), name).check_walks(rules.size() - trie_size, max_prefixes);
}

/// Throws if SentencePiece cannot look up the user-defined pieces. Its buffer holds 64 results of a look-up.
inline void check_user_defined(const std::vector<SentencePieceEntry>& pieces, std::string_view name) {
  std::unordered_set<std::string_view> defined;
  for (const SentencePieceEntry& piece : pieces)
    if (piece.kind == PieceKind::user_defined) defined.insert(piece.text);
  for (const std::string_view text : defined) {
    int prefixes = 0;
    check(text.size() <= 512, name, ": a piece that users defined has ", text.size(), " bytes, expected at most 512");
    for (std::size_t size = 1; size <= text.size(); ++size) prefixes += defined.count(text.substr(0, size)) > 0 ? 1 : 0;
    check(prefixes <= 64, name, ": ", prefixes, " pieces that users defined are prefixes of one another");
  }
}

/// Reads the bytes of a model file. Throws if they are damaged, or if the model is neither unigram nor BPE.
inline SentencePieceFile read_sentencepiece_file(std::string_view bytes, std::string_view name) {
  SentencePieceFile file;
  std::uint64_t type = 1;
  bool has_training = false, has_normalization = false;
  std::unordered_set<std::string_view> known;
  for (ProtobufReader field(bytes, name); field.next();) {
    if (field.is(1, WireType::length_delimited)) {
      file.pieces.push_back(read_piece(field.text, name, file.pieces.size()));
    } else if (field.is(2, WireType::length_delimited)) {  // how it was trained
      has_training = true;
      for (ProtobufReader option(field.text, name); option.next();) {
        if (option.is(3, WireType::varint)) type = option.value;
        if (option.is(35, WireType::varint)) file.byte_fallback = option.value != 0;
      }
    } else if (field.is(3, WireType::length_delimited) || field.is(5, WireType::length_delimited)) {
      // how text is normalised before, and after
      has_normalization = has_normalization || field.number == 3;
      for (ProtobufReader option(field.text, name); option.next();)
        if (option.is(2, WireType::length_delimited)) check_character_rules(option.text, name);
    }
  }
  check(!file.pieces.empty(), name, ": is no SentencePiece model, or damaged: it has no pieces");
  check(has_training && has_normalization, name, ": is damaged: the options of ",
        has_training ? "normalisation" : "training", " are missing");
  for (std::size_t i = 0; i < file.pieces.size(); ++i)
    check(known.insert(file.pieces[i].text).second, name, ": piece ", i, ", \"", file.pieces[i].text,
          "\", occurs twice");
  check(type == 1 || type == 2, name, ": is a SentencePiece model of kind ", type, ", expected 1 (unigram) or 2 (BPE)");
  file.type = type == 1 ? SubwordType::unigram : SubwordType::bpe;
  check_user_defined(file.pieces, name);
  return file;
}

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
