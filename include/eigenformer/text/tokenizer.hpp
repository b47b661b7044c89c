// A simple tokeniser that needs no training. It is reversible: detokenize(tokenize(line)) returns the line, except that
// runs of white space become one space, and white space at the ends is removed. Text that subword-nmt has split is
// different: it comes back joined.
#pragma once

#include <algorithm>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "eigenformer/core/named_enum.hpp"
#include "eigenformer/text/utf8.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// How to split text into tokens.
///
/// words: splits at white space, and splits punctuation off the edges of words.
/// - Split-off punctuation carries the joiner mark U+FFED on the side where it was attached. Writing M for the mark,
///   `"Hello," she said.` becomes `"M`, `Hello`, `M,`, `M"`, `she`, `said`, `M.`
/// - Punctuation between spaces carries no mark. BPE pieces and entities like "&quot;" stay whole. Tokenised text
///   therefore passes unchanged, except where punctuation is still attached, as in abbreviations.
/// - A joiner mark in the text itself is doubled.
///
/// characters: one token for each code point, and one token U+2581 where white space separates words. A U+2581 in the
/// text itself is doubled.
///
/// bpe_marks: splits only at white space, for text that subword-nmt has already split, such as "play@@ house".
/// detokenize() joins a token that ends with "@@" to the next one: "playhouse".
enum class Tokenization { words, characters, bpe_marks };

constexpr auto enum_names(Tokenization) {
  return std::to_array<EnumName<Tokenization>>({{Tokenization::words, "words"},
                                                {Tokenization::characters, "characters"},
                                                {Tokenization::bpe_marks, "bpe_marks"}});
}

namespace detail {

inline constexpr std::string_view joiner_mark = "\xEF\xBF\xAD";  // U+FFED
inline constexpr std::string_view space_mark = "\xE2\x96\x81";   // U+2581
inline constexpr std::string_view bpe_mark = "@@";

/// Whether a character is punctuation to split off words. Other symbols stay, as in "C++", "50%" and "e-mail".
inline bool is_edge_punctuation(char32_t c) {
  if (c > ']' && c < 0x80) return false;  // skips the table for most letters
  if (c < 0x80) return std::string_view(".,!?;:\"'()[]").find(static_cast<char>(c)) != std::string_view::npos;
  return c == 0xA1 || c == 0xAB || c == 0xBB || c == 0xBF ||              // inverted marks, guillemets
         (c >= 0x2018 && c <= 0x201F) || c == 0x2026 ||                   // quotation marks, ellipsis
         c == 0x2039 || c == 0x203A || c == 0x3001 || c == 0x3002 ||      // guillemets, CJK comma, full stop
         (c >= 0x3008 && c <= 0x3011) || (c >= 0x3014 && c <= 0x301F) ||  // CJK brackets
         c == 0xFF01 || c == 0xFF02 || (c >= 0xFF07 && c <= 0xFF09) ||    // fullwidth ASCII punctuation
         c == 0xFF0C || c == 0xFF0E || c == 0xFF1A || c == 0xFF1B || c == 0xFF1F || c == 0xFF3B || c == 0xFF3D ||
         (c >= 0xFF5F && c <= 0xFF64);  // fullwidth brackets, halfwidth CJK punctuation
}

/// Whether a word is an entity like "&quot;". Entities are frequent in corpora, and their semicolon is not punctuation.
inline bool is_entity(std::string_view word) {
  return word.size() >= 3 && word.front() == '&' && word.back() == ';' &&
         std::all_of(word.begin() + 1, word.end() - 1, [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '#';
         });
}

/// Returns `text` with every `mark` doubled, so that a single mark is always the tokeniser's.
inline std::string double_marks(std::string_view text, std::string_view mark) {
  if (text.find(mark) == std::string_view::npos) return std::string(text);  // the usual case, without an allocation
  std::string doubled;
  for (std::size_t found; (found = text.find(mark)) != std::string_view::npos;
       text.remove_prefix(found + mark.size())) {
    doubled.append(text.substr(0, found)).append(mark).append(mark);
  }
  return doubled.append(text);
}

/// Returns the last code point of a text, which must be UTF-8 and not empty.
inline CodePoint last_code_point(std::string_view text) {
  std::size_t begin = text.size() - 1;
  while (begin > 0 && is_continuation(text[begin])) --begin;
  return first_code_point(text.substr(begin));
}

inline void tokenize_word(std::string_view word, std::vector<std::string>& tokens) {
  std::string_view inner = word;  // without the punctuation at its edges
  for (CodePoint c; !inner.empty(); inner.remove_prefix(c.bytes.size()))
    if (c = first_code_point(inner); !is_edge_punctuation(c.value)) break;
  if (inner.empty()) {  // punctuation only: nothing to split
    tokens.emplace_back(word);
    return;
  }
  const std::string_view before = word.substr(0, word.size() - inner.size());
  for (CodePoint c; true; inner.remove_suffix(c.bytes.size()))
    if (c = last_code_point(inner); !is_edge_punctuation(c.value)) break;
  const std::string_view after = word.substr(before.size() + inner.size());

  for (const CodePoint& c : CodePoints(before)) tokens.emplace_back(c.bytes).append(joiner_mark);
  tokens.push_back(double_marks(inner, joiner_mark));
  for (const CodePoint& c : CodePoints(after)) tokens.emplace_back(joiner_mark).append(c.bytes);
}

/// Appends `text` to `line`, with every doubled `mark` reduced to a single one.
inline void append_single_marks(std::string& line, std::string_view text, std::string_view mark) {
  for (std::size_t found; (found = text.find(mark)) != std::string_view::npos;) {
    line += text.substr(0, found + mark.size());
    text.remove_prefix(found + mark.size());
    if (text.starts_with(mark)) text.remove_prefix(mark.size());
  }
  line += text;
}

inline std::string detokenize_words(std::span<const std::string> tokens) {
  const std::string literal = double_marks(joiner_mark, joiner_mark);
  std::string line;
  bool attached = true;  // whether the next token follows without a space
  for (const std::string& token : tokens) {
    std::string_view text = token;
    if (text.starts_with(joiner_mark) && !text.starts_with(literal)) {
      text.remove_prefix(joiner_mark.size());
      attached = true;
    }
    if (!attached) line += ' ';
    attached = text.ends_with(joiner_mark) && !text.ends_with(literal);
    if (attached) text.remove_suffix(joiner_mark.size());
    append_single_marks(line, text, joiner_mark);
  }
  return line;
}

inline std::string detokenize_bpe_marks(std::span<const std::string> tokens) {
  std::string line;
  bool attached = true;  // whether the next token follows without a space
  for (const std::string& token : tokens) {
    if (!attached) line += ' ';
    attached = token.ends_with(bpe_mark);
    line.append(token, 0, token.size() - (attached ? bpe_mark.size() : 0));
  }
  return line;
}

}  // namespace detail

/// Returns the tokens of a line; none if it is only white space. Throws if it is not UTF-8.
inline std::vector<std::string> tokenize(std::string_view line, Tokenization tokenization) {
  std::vector<std::string> tokens;
  tokens.reserve(tokenization == Tokenization::characters ? line.size() : line.size() / 4 + 1);
  if (tokenization == Tokenization::words) {
    bool inside = false;  // inside a word split by BPE: in "e.@@ g." the periods are not punctuation
    for_each_word(line, "tokenize", [&](std::string_view word) {
      const bool goes_on = word.ends_with(detail::bpe_mark);
      if (inside || goes_on || detail::is_entity(word)) {
        tokens.push_back(detail::double_marks(word, detail::joiner_mark));
      } else {
        detail::tokenize_word(word, tokens);
      }
      inside = goes_on;
    });
  } else if (tokenization == Tokenization::bpe_marks) {
    for_each_word(line, "tokenize", [&](std::string_view word) { tokens.emplace_back(word); });
  } else {
    for_each_word(line, "tokenize", [&](std::string_view word) {
      if (!tokens.empty()) tokens.emplace_back(detail::space_mark);
      for (const CodePoint& c : CodePoints(word)) tokens.push_back(detail::double_marks(c.bytes, detail::space_mark));
    });
  }
  return tokens;
}

/// Returns the line with these tokens. Accepts any tokens, because a model may produce a leading joiner mark or
/// `<unk>`. A joiner mark with nothing to join is dropped; `<unk>` is copied.
inline std::string detokenize(std::span<const std::string> tokens, Tokenization tokenization) {
  if (tokenization == Tokenization::words) return detail::detokenize_words(tokens);
  if (tokenization == Tokenization::bpe_marks) return detail::detokenize_bpe_marks(tokens);
  const std::string literal = detail::double_marks(detail::space_mark, detail::space_mark);
  std::string line;
  for (const std::string& token : tokens) {
    if (token == detail::space_mark) {
      line += ' ';
    } else {
      line += token == literal ? detail::space_mark : std::string_view(token);
    }
  }
  return line;
}

/// Guesses the tokenization of a text from its lines, which are added one by one:
/// - bpe_marks if more than 1 % of the words end with "@@";
/// - characters if most of the characters are Han, Hiragana or Katakana, which are written without spaces. Punctuation
///   and white space are not counted;
/// - words otherwise.
class TokenizationGuess {
 public:
  /// Throws if the line is not UTF-8.
  void add(std::string_view line) {
    for_each_word(line, "guess_tokenization", [&](std::string_view word) {
      ++words_;
      if (word.ends_with(detail::bpe_mark)) ++marked_words_;
      for (const CodePoint& c : CodePoints(word)) {
        if (is_punctuation(c.value)) continue;
        ++letters_;
        if (is_han_or_kana(c.value)) ++han_or_kana_;
      }
    });
  }
  Tokenization tokenization() const {
    if (100 * marked_words_ > words_) return Tokenization::bpe_marks;
    return 2 * han_or_kana_ > letters_ ? Tokenization::characters : Tokenization::words;
  }

 private:
  Index letters_ = 0, han_or_kana_ = 0;
  Index words_ = 0, marked_words_ = 0;
};

/// Returns the guess of TokenizationGuess for all lines. Throws if a line is not UTF-8.
inline Tokenization guess_tokenization(std::span<const std::string> lines) {
  TokenizationGuess guess;
  for (const std::string& line : lines) guess.add(line);
  return guess.tokenization();
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
