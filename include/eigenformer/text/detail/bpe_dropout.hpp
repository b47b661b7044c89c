// BPE dropout: byte-pair encoding that skips joins at random (Provilkov et al. 2020, arXiv 1910.13267).
#pragma once

#include <cstddef>
#include <functional>
#include <queue>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "eigenformer/core/rng.hpp"
#include "eigenformer/text/detail/subword_table.hpp"
#include "eigenformer/text/utf8.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

/// Splits a text as SentencePiece does. Joins the two neighbours that form the best-scored piece, the leftmost first,
/// and repeats until no neighbours form a piece. Skips each join for good with the probability `dropout`.
class BpeSplit {
 public:
  BpeSplit(std::string_view text, const SubwordTable& table, double dropout, Rng& rng) : text_(text), table_(table) {
    split_into_characters();
    for (std::size_t i = 1; i < symbols_.size(); ++i) add_join(i - 1, i);
    while (!joins_.empty()) {
      const Join join = joins_.top();
      joins_.pop();
      const bool is_outdated = symbols_[join.left].size == 0 || symbols_[join.right].size == 0 ||
                               symbols_[join.left].size + symbols_[join.right].size != join.size;
      if (is_outdated || rng.uniform() < dropout) continue;
      apply(join);
    }
  }

  std::vector<SubwordPart> parts() const {
    std::vector<SubwordPart> parts;
    for (std::size_t i = 0; i < symbols_.size(); i = symbols_[i].next) append(text_of(i), parts);
    return parts;
  }

 private:
  static constexpr std::size_t none = static_cast<std::size_t>(-1);

  struct Symbol {
    std::size_t begin = 0, size = 0;  // in the text; size 0: joined to its left neighbour
    std::size_t previous = none, next = none;
    bool is_final = false;  // a user-defined piece, which is never joined
  };
  struct Join {
    double score = 0;
    std::size_t left = 0, right = 0, size = 0;
    friend bool operator<(const Join& a, const Join& b) {
      return a.score != b.score ? a.score < b.score : a.left > b.left;
    }
  };

  std::string_view text_of(std::size_t symbol) const {
    return text_.substr(symbols_[symbol].begin, symbols_[symbol].size);
  }

  void split_into_characters() {
    for (std::size_t begin = 0; begin < text_.size(); begin += symbols_.back().size) {
      const std::string_view rest = text_.substr(begin);
      const std::string_view defined = table_.user_defined_prefix(rest);
      const std::size_t size = defined.empty() ? CodePoints(rest, "sample").begin()->bytes.size() : defined.size();
      const std::size_t i = symbols_.size();
      symbols_.push_back({begin, size, i - 1, begin + size < text_.size() ? i + 1 : none, !defined.empty()});
    }
  }

  void add_join(std::size_t left, std::size_t right) {
    if (left == none || right == none || symbols_[left].is_final || symbols_[right].is_final) return;
    const std::size_t size = symbols_[left].size + symbols_[right].size;
    const std::string_view joined = text_.substr(symbols_[left].begin, size);
    const SubwordTable::Piece* const piece = table_.find(joined);
    if (piece == nullptr) return;
    if (piece->kind == PieceKind::unused) joined_from_[joined] = {text_of(left), text_of(right)};
    joins_.push({piece->score, left, right, size});
  }

  void apply(const Join& join) {
    Symbol& left = symbols_[join.left];
    Symbol& right = symbols_[join.right];
    left.size = join.size;
    right.size = 0;
    left.next = right.next;
    if (left.next != none) symbols_[left.next].previous = join.left;
    add_join(left.previous, join.left);
    add_join(join.left, left.next);
  }

  /// Appends a symbol. Splits it into its two halves again if it is an unused piece.
  void append(std::string_view symbol, std::vector<SubwordPart>& parts) const {
    const SubwordTable::Piece* const piece = table_.find(symbol);
    const auto halves = joined_from_.find(symbol);
    if (piece == nullptr || piece->kind != PieceKind::unused || halves == joined_from_.end()) {
      parts.push_back({symbol, piece != nullptr});
      return;
    }
    append(halves->second.first, parts);
    append(halves->second.second, parts);
  }

  std::string_view text_;
  const SubwordTable& table_;
  std::vector<Symbol> symbols_;
  std::priority_queue<Join> joins_;
  std::unordered_map<std::string_view, std::pair<std::string_view, std::string_view>> joined_from_;
};

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
