// Strict UTF-8 decoding and character classes. Text that is not well-formed by the Unicode Standard (table 3-7) is an
// error. The message names the offset of the first invalid byte. Invalid bytes never become replacement characters.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

#include "eigenformer/core/check.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// A code point and its bytes in the text.
struct CodePoint {
  char32_t value = 0;
  std::string_view bytes;
};

namespace detail {

inline bool is_continuation(char byte) {
  return (static_cast<unsigned char>(byte) & 0xC0U) == 0x80;
}

/// Decodes the first code point of `text`, which must not be empty. If it is invalid, the result has no bytes.
inline CodePoint first_code_point(std::string_view text) {
  const auto lead = static_cast<unsigned char>(text.front());
  if (lead < 0x80) return {lead, text.substr(0, 1)};
  const std::size_t size = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  if (lead < 0xC0 || lead > 0xF7 || text.size() < size) return {};
  char32_t value = lead & (0x7FU >> size);
  for (std::size_t i = 1; i < size; ++i) {
    if (!is_continuation(text[i])) return {};
    value = (value << 6) | (static_cast<unsigned char>(text[i]) & 0x3FU);
  }
  constexpr std::array<char32_t, 5> smallest{0, 0, 0x80, 0x800, 0x10000};
  const bool overlong = value < smallest[size];
  const bool surrogate = value >= 0xD800 && value <= 0xDFFF;
  if (overlong || surrogate || value > 0x10FFFF) return {};
  return {value, text.substr(0, size)};
}

}  // namespace detail

/// A range over the code points of a text. The text must outlive the range:
///
///   for (const CodePoint& c : CodePoints(line, "tokenize"))
///
/// Iterating throws at the first byte that is not UTF-8.
class CodePoints {
 public:
  explicit CodePoints(std::string_view text, const char* where = "CodePoints") : text_(text), where_(where) {}

  class Iterator {
   public:
    using iterator_category = std::input_iterator_tag;
    using value_type = CodePoint;
    using difference_type = std::ptrdiff_t;
    using pointer = const CodePoint*;
    using reference = const CodePoint&;

    Iterator(std::string_view text, const char* where) : text_(text), where_(where) { read(); }

    const CodePoint& operator*() const { return current_; }
    const CodePoint* operator->() const { return &current_; }
    Iterator& operator++() {
      offset_ += current_.bytes.size();
      read();
      return *this;
    }
    Iterator operator++(int) {
      Iterator before = *this;
      ++*this;
      return before;
    }
    friend bool operator==(const Iterator& i, std::default_sentinel_t) { return i.offset_ == i.text_.size(); }

   private:
    void read() {
      if (offset_ == text_.size()) return;
      current_ = detail::first_code_point(text_.substr(offset_));
      check(!current_.bytes.empty(), where_, ": invalid UTF-8 at byte ", offset_);
    }

    std::string_view text_;
    const char* where_;
    std::size_t offset_ = 0;
    CodePoint current_;
  };

  Iterator begin() const { return {text_, where_}; }
  std::default_sentinel_t end() const { return {}; }

 private:
  std::string_view text_;
  const char* where_;
};

namespace detail {

/// Returns the number of ASCII bytes that the text begins with, rounded down to a multiple of 8.
inline std::size_t leading_ascii(std::string_view text) {
  std::size_t size = 0;
  for (std::uint64_t eight = 0; size + sizeof(eight) <= text.size(); size += sizeof(eight)) {
    std::memcpy(&eight, text.data() + size, sizeof(eight));
    if ((eight & 0x8080808080808080U) != 0) break;
  }
  return size;
}

}  // namespace detail

/// Returns the offset of the first byte that is not UTF-8, or std::string_view::npos if there is none.
inline std::size_t find_invalid_utf8(std::string_view text) {
  for (std::size_t offset = 0; offset < text.size();) {
    if (static_cast<unsigned char>(text[offset]) < 0x80) {
      offset += std::max<std::size_t>(1, detail::leading_ascii(text.substr(offset)));
      continue;
    }
    const std::size_t size = detail::first_code_point(text.substr(offset)).bytes.size();
    if (size == 0) return offset;
    offset += size;
  }
  return std::string_view::npos;
}

/// Throws unless `text` is UTF-8, with a message like "bleu: invalid UTF-8 at byte 17". Bytes are counted from 0.
inline void check_utf8(std::string_view text, std::string_view where) {
  const std::size_t invalid = find_invalid_utf8(text);
  check(invalid == std::string_view::npos, where, ": invalid UTF-8 at byte ", invalid);
}

/// Returns the bytes of each code point. Throws if `text` is not UTF-8.
inline std::vector<std::string_view> split_code_points(std::string_view text) {
  std::vector<std::string_view> characters;
  for (const CodePoint& c : CodePoints(text, "split_code_points")) characters.push_back(c.bytes);
  return characters;
}

/// Returns the value of each code point. Throws if `text` is not UTF-8.
inline std::u32string decode_utf8(std::string_view text) {
  std::u32string values;
  for (const CodePoint& c : CodePoints(text, "decode_utf8")) values.push_back(c.value);
  return values;
}

/// Appends a code point to a text. Throws for surrogates and values beyond U+10FFFF.
inline void append_utf8(std::string& text, char32_t value) {
  check(value <= 0x10FFFF && (value < 0xD800 || value > 0xDFFF), "append_utf8: ", static_cast<std::uint32_t>(value),
        " is not a code point");
  const auto add = [&](char32_t bits) { text += static_cast<char>(static_cast<unsigned char>(bits)); };
  if (value < 0x80) {
    add(value);
    return;
  }
  const int continuations = value < 0x800 ? 1 : value < 0x10000 ? 2 : 3;
  constexpr std::array<char32_t, 4> lead{0, 0xC0, 0xE0, 0xF0};
  add(lead[static_cast<std::size_t>(continuations)] | (value >> (6 * continuations)));
  for (int i = continuations - 1; i >= 0; --i) add(0x80 | ((value >> (6 * i)) & 0x3F));
}

/// Whether a character is Unicode white space or one of the separators U+001C to U+001F. These are the characters at
/// which Python's str.split() splits.
inline bool is_white_space(char32_t c) {
  if (c < 0x80) return c == ' ' || (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x1F);
  return c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 ||
         c == 0x202F || c == 0x205F || c == 0x3000;
}

/// Whether a character is Han, Hiragana or Katakana, including iteration and length marks, but not punctuation.
inline bool is_han_or_kana(char32_t c) {
  if (c < 0x2E80) return false;
  const bool han = c <= 0x2FDF || c == 0x3005 || c == 0x3006 || c == 0x3007 || (c >= 0x3021 && c <= 0x3029) ||
                   (c >= 0x3038 && c <= 0x303B) || (c >= 0x3400 && c <= 0x4DBF) || (c >= 0x4E00 && c <= 0x9FFF) ||
                   (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x20000 && c <= 0x3FFFD);
  const bool kana = (c >= 0x3041 && c <= 0x309F) || (c >= 0x30A1 && c <= 0x30FF && c != 0x30FB) ||
                    (c >= 0x31F0 && c <= 0x31FF) || (c >= 0xFF66 && c <= 0xFF9F) || (c >= 0x1AFF0 && c <= 0x1B16F);
  return han || kana;
}

/// Whether a character is punctuation or a symbol: not a letter, digit or white space. Decided by Unicode blocks, for
/// the scripts in wide use.
inline bool is_punctuation(char32_t c) {
  if (c < 0x80) {
    const bool digit = c >= '0' && c <= '9';
    const bool letter = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
    return c > ' ' && c < 0x7F && !digit && !letter;
  }
  return (c >= 0xA1 && c <= 0xBF && c != 0xAA && c != 0xB5 && c != 0xBA) || c == 0xD7 || c == 0xF7 ||
         (c >= 0x200B && c <= 0x2BFF && !is_white_space(c)) || (c >= 0x2E00 && c <= 0x2E7F) ||
         (c >= 0x3001 && c <= 0x303F && !is_han_or_kana(c)) || c == 0x30A0 || c == 0x30FB ||
         (c >= 0xFE10 && c <= 0xFE1F) || (c >= 0xFE30 && c <= 0xFE6F) || (c >= 0xFF01 && c <= 0xFF0F) ||
         (c >= 0xFF1A && c <= 0xFF20) || (c >= 0xFF3B && c <= 0xFF40) || (c >= 0xFF5B && c <= 0xFF65) ||
         (c >= 0xFFE0 && c <= 0xFFFD) || (c >= 0x1F000 && c <= 0x1FAFF);
}

/// Calls visit(word) for each word of a text, a std::string_view. White space separates words. Throws if the text is
/// not UTF-8; the message begins with `where`.
template <class Visit>
void for_each_word(std::string_view text, const char* where, Visit&& visit) {
  std::size_t begin = 0;  // of the current word
  for (std::size_t offset = 0, size = 1; offset < text.size(); offset += size) {
    char32_t value = static_cast<unsigned char>(text[offset]);
    size = 1;
    if (value >= 0x80) {
      const CodePoint c = detail::first_code_point(text.substr(offset));
      check(!c.bytes.empty(), where, ": invalid UTF-8 at byte ", offset);
      value = c.value;
      size = c.bytes.size();
    }
    if (!is_white_space(value)) continue;
    if (begin < offset) visit(text.substr(begin, offset - begin));
    begin = offset + size;
  }
  if (begin < text.size()) visit(text.substr(begin));
}

/// Splits a text at white space. Throws if it is not UTF-8; the message begins with `where`.
inline std::vector<std::string_view> split_words(std::string_view text, const char* where = "split_words") {
  std::vector<std::string_view> words;
  for_each_word(text, where, [&](std::string_view word) { words.push_back(word); });
  return words;
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
