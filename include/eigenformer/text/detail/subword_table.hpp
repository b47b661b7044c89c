// A table of a SentencePiece model's pieces, for splitting normalised text at random.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "eigenformer/text/detail/sentencepiece_file.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

/// A part of a text, and whether the model knows it.
struct SubwordPart {
  std::string_view text;
  bool known = true;
};

class SubwordTable {
 public:
  struct Piece {
    double score = 0;
    PieceKind kind = PieceKind::normal;
  };
  /// A node of a trie: a prefix of at least one piece. Its edges are characters.
  struct Node {
    std::uint64_t number = 0;      // 0: the root
    const Piece* piece = nullptr;  // the piece with this text, if there is one
  };

  explicit SubwordTable(const SentencePieceFile& file) : byte_fallback_(file.byte_fallback) {
    double smallest = static_cast<double>((std::numeric_limits<float>::max)());
    double largest = static_cast<double>((std::numeric_limits<float>::min)());  // as in SentencePiece
    for (const SentencePieceEntry& entry : file.pieces) {
      if (entry.kind == PieceKind::normal) {
        smallest = std::min<double>(smallest, entry.score);
        largest = std::max<double>(largest, entry.score);
      }
      if (entry.kind == PieceKind::byte) byte_texts_.emplace(entry.text, byte_of(entry.text));
      if (entry.kind != PieceKind::normal && entry.kind != PieceKind::user_defined && entry.kind != PieceKind::unused)
        continue;
      const auto piece = pieces_.insert_or_assign(entry.text, Piece{entry.score, entry.kind}).first;
      Node* node = &root_;
      for (const CodePoint& c : CodePoints(entry.text))
        node = &nodes_.try_emplace({node->number, c.value}, Node{nodes_.size() + 1}).first->second;
      node->piece = &piece->second;
      if (entry.kind == PieceKind::user_defined)
        longest_user_defined_ = std::max<std::size_t>(longest_user_defined_, entry.text.size());
    }
    unknown_score_ = smallest - 10;
    best_score_ = largest;
  }

  SubwordTable(const SubwordTable&) = delete;  // nodes point to pieces
  SubwordTable& operator=(const SubwordTable&) = delete;

  /// Returns the root: the node of the empty text.
  const Node* root() const { return &root_; }
  /// Returns the node that `character` leads to from `node`, or nullptr if no piece begins with that text.
  const Node* find_next(const Node* node, char32_t character) const {
    const auto found = nodes_.find({node->number, character});
    return found == nodes_.end() ? nullptr : &found->second;
  }
  /// Returns the piece with this text, or nullptr if there is none.
  const Piece* find(std::string_view text) const {
    const auto found = pieces_.find(text);
    return found == pieces_.end() ? nullptr : &found->second;
  }

  /// Returns the log probability of an unknown character.
  double unknown_score() const { return unknown_score_; }

  /// Returns the log probability of a piece. A user-defined piece has a bonus, so that it is nearly always chosen.
  double score(const Piece& piece, std::size_t characters) const {
    return piece.kind == PieceKind::user_defined ? static_cast<double>(characters) * best_score_ - 0.1 : piece.score;
  }

  /// Returns the longest user-defined piece at the beginning of the text; empty if there is none.
  std::string_view user_defined_prefix(std::string_view text) const {
    for (std::size_t size = std::min<std::size_t>(text.size(), longest_user_defined_); size > 0; --size) {
      const Piece* const piece = find(text.substr(0, size));
      if (piece != nullptr && piece->kind == PieceKind::user_defined) return text.substr(0, size);
    }
    return {};
  }

  /// Returns the parts as pieces, as SentencePiece does. Adjacent unknown parts become one piece or, with byte
  /// fallback, one piece per byte.
  std::vector<std::string> pieces_of(const std::vector<SubwordPart>& parts) const {
    constexpr std::string_view digits = "0123456789ABCDEF";
    std::vector<std::string> pieces;
    bool was_unknown = false;
    for (const SubwordPart& part : parts) {
      if (!part.known && byte_fallback_) {
        for (const char byte : part.text) {
          const auto value = static_cast<unsigned char>(byte);
          pieces.push_back(std::string("<0x") + digits[value >> 4U] + digits[value & 15U] + '>');
        }
      } else if (!part.known && was_unknown) {
        pieces.back() += part.text;
      } else {
        pieces.emplace_back(part.text);
      }
      was_unknown = !part.known;
    }
    return pieces;
  }

  /// Returns the normalised text that SentencePiece split into these pieces.
  std::string text_of(const std::vector<std::string>& pieces) const {
    std::string text;
    for (const std::string& piece : pieces) {
      const auto byte = byte_texts_.find(piece);
      if (byte == byte_texts_.end())
        text += piece;
      else
        text += byte->second;
    }
    return text;
  }

 private:
  /// The number of a node, and the character of an edge that leaves it.
  struct Edge {
    std::uint64_t node = 0;
    char32_t character = 0;
    friend bool operator==(const Edge&, const Edge&) = default;
  };
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
    std::size_t operator()(const Edge& edge) const {
      const std::uint64_t product = (edge.node << 21 ^ edge.character) * 0x9E3779B97F4A7C15;
      return std::hash<std::uint64_t>()(product ^ product >> 32);
    }
  };

  /// Returns the byte of a piece like "<0xE4>". SentencePiece refuses models with byte pieces of any other form.
  static char byte_of(std::string_view text) {
    unsigned value = 0;
    for (const char digit : text.substr(std::min<std::size_t>(text.size(), 3), 2))
      value = value * 16 + static_cast<unsigned>(digit <= '9' ? digit - '0' : digit - 'A' + 10);
    return static_cast<char>(static_cast<unsigned char>(value));
  }

  std::unordered_map<std::string, Piece, Hash, std::equal_to<>> pieces_;
  std::unordered_map<Edge, Node, Hash> nodes_;
  Node root_;
  std::unordered_map<std::string, char> byte_texts_;
  std::size_t longest_user_defined_ = 0;  // in bytes
  double unknown_score_ = 0, best_score_ = 0;
  bool byte_fallback_ = false;
};

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
