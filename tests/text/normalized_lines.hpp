// Random lines of mixed scripts, with the text that SentencePiece's normalisation makes of them: Unicode's NFKC, with
// spaces for white space and some other characters, without control characters, and with single spaces between words.
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "eigenformer/core/rng.hpp"
#include "eigenformer/text/utf8.hpp"

namespace eigenformer::testing {

struct NormalizedLine {
  std::string raw;
  std::string normalized;
};

inline std::string utf8(std::u32string_view values) {
  std::string text;
  for (const char32_t value : values) append_utf8(text, value);
  return text;
}

/// Returns a line with single spaces between its words and none at its ends.
inline std::string single_spaces(std::string_view line) {
  std::string result;
  for (const char c : line)
    if (c != ' ' || (!result.empty() && result.back() != ' ')) result += c;
  if (!result.empty() && result.back() == ' ') result.pop_back();
  return result;
}

/// Texts and their NFKC, from the tables of Unicode: precomposed letters, marks without a precomposed letter,
/// ligatures, numbers, squared words, halfwidth Katakana, dots.
inline const std::vector<std::pair<std::u32string, std::u32string>>& nfkc_examples() {
  static const std::vector<std::pair<std::u32string, std::u32string>> examples{{U"e\u0301", U"\u00E9"},
                                                                               {U"A\u030A", U"\u00C5"},
                                                                               {U"\u212B", U"\u00C5"},
                                                                               {U"n\u0303", U"\u00F1"},
                                                                               {U"q\u0301", U"q\u0301"},
                                                                               {U"x\u0323\u0302", U"x\u0323\u0302"},
                                                                               {U"o\u0302", U"\u00F4"},
                                                                               {U"u\u0308", U"\u00FC"},
                                                                               {U"\uFB01", U"fi"},
                                                                               {U"\uFB00", U"ff"},
                                                                               {U"\u2460", U"1"},
                                                                               {U"\u246A", U"11"},
                                                                               {U"\u337F", U"株式会社"},
                                                                               {U"\u00BD", U"1\u20442"},
                                                                               {U"\u00B2", U"2"},
                                                                               {U"\u2122", U"TM"},
                                                                               {U"\u2026", U"..."},
                                                                               {U"\uFF76\uFF9E", U"\u30AC"},
                                                                               {U"\uFF8A\uFF9F", U"\u30D1"},
                                                                               {U"\uFF71", U"\u30A2"},
                                                                               {U"\u00B5", U"\u03BC"},
                                                                               {U"\u2167", U"VIII"},
                                                                               {U"\u03B1\u0301", U"\u03AC"},
                                                                               {U"\u0438\u0306", U"\u0439"}};
  return examples;
}

/// Returns a random word in one of many scripts, or symbols, with its normalised form.
inline NormalizedLine normalized_word(Rng& rng) {
  struct Range {
    char32_t first, last;
  };
  // Characters that NFKC leaves alone, whatever their neighbours: Latin, Greek, Cyrillic, Hebrew, Arabic, Devanagari,
  // Thai, Georgian, Hiragana, Katakana, Han, Hangul syllables, emoji, flags, mathematical arrows, rare Han.
  constexpr std::array<Range, 20> ranges{{{U'a', U'z'},     {U'A', U'Z'},       {U'0', U'9'},       {0x03B1, 0x03C9},
                                          {0x0430, 0x044F}, {0x05D0, 0x05EA},   {0x0628, 0x063A},   {0x0915, 0x0928},
                                          {0x0E01, 0x0E2E}, {0x10D0, 0x10F0},   {0x3042, 0x304A},   {0x30A2, 0x30AA},
                                          {0x4E00, 0x9FA5}, {0xAC00, 0xD7A3},   {0x1F600, 0x1F64F}, {0x1F1E6, 0x1F1FF},
                                          {0x2190, 0x2193}, {0x20000, 0x20100}, {U'!', U'/'},       {U':', U'@'}}};
  const auto random_in = [&](const Range& range) {
    return range.first + static_cast<char32_t>(rng.randint(static_cast<Index>(range.last - range.first) + 1));
  };
  NormalizedLine word;
  const auto add = [&](std::u32string_view raw, std::u32string_view normalized) {
    word.raw += utf8(raw);
    word.normalized += utf8(normalized);
  };
  switch (rng.randint(12)) {
    case 0: {
      const auto& [raw, normalized] = nfkc_examples()[static_cast<std::size_t>(rng.randint(24))];
      add(raw, normalized);
      break;
    }
    case 1: {  // fullwidth forms of ASCII
      for (Index i = 1 + rng.randint(4); i > 0; --i) {
        const char32_t c = random_in({0xFF01, 0xFF5D});
        add(std::u32string(1, c), std::u32string(1, c - 0xFEE0));
      }
      break;
    }
    case 2: {  // conjoining Hangul letters
      const char32_t lead = random_in({0, 18}), vowel = random_in({0, 20}), trail = random_in({0, 27});
      std::u32string letters{0x1100 + lead, 0x1161 + vowel};
      if (trail > 0) letters += 0x11A7 + trail;
      add(letters, std::u32string(1, 0xAC00 + (lead * 21 + vowel) * 28 + trail));
      break;
    }
    case 3: {  // emoji of several characters: a skin tone, a variation selector, a family
      const std::array<std::u32string_view, 3> emoji{U"\U0001F44D\U0001F3FD", U"\u2764\uFE0F",
                                                     U"\U0001F468\u200D\U0001F469\u200D\U0001F467"};
      const std::u32string_view chosen = emoji[static_cast<std::size_t>(rng.randint(3))];
      add(chosen, chosen);
      break;
    }
    case 4: {  // what reads like a special token
      const std::array<std::u32string_view, 6> specials{U"<unk>", U"<s>", U"</s>", U"<0x41>", U"<pad>", U"<sep>"};
      const std::u32string_view chosen = specials[static_cast<std::size_t>(rng.randint(6))];
      add(chosen, chosen);
      break;
    }
    case 5: {  // a control character inside of a word
      const std::array<char32_t, 5> controls{0x01, 0x07, 0x0B, 0x1B, 0x7F};
      add(U"in", U"in");
      add(std::u32string(1, controls[static_cast<std::size_t>(rng.randint(5))]), U"");
      add(U"side", U"side");
      break;
    }
    default: {
      const Range& range = ranges[static_cast<std::size_t>(rng.randint(static_cast<Index>(ranges.size())))];
      for (Index i = 1 + rng.randint(7); i > 0; --i) {
        const char32_t c = random_in(range);
        add(std::u32string(1, c), std::u32string(1, c));
      }
    }
  }
  return word;
}

/// Returns random lines of zero to ten words, with odd spaces between them, before and after, and sometimes none.
inline std::vector<NormalizedLine> normalized_lines(int count, std::uint64_t seed) {
  constexpr std::u32string_view spaces = U" \t\n\r\u00A0\u1680\u2003\u2009\u200B\u2028\u202F\u205F\u2581\u3000\uFEFF";
  Rng rng(seed);
  std::vector<NormalizedLine> lines;
  for (int i = 0; i < count; ++i) {
    NormalizedLine line;
    const auto add_spaces = [&](Index least) {
      for (Index space = least + rng.randint(3); space > 0; --space) {
        const bool plain = rng.randint(2) == 0;
        append_utf8(line.raw, plain ? U' ' : spaces[static_cast<std::size_t>(rng.randint(Index{15}))]);
        line.normalized += ' ';
      }
    };
    add_spaces(0);
    for (Index words = rng.randint(11); words > 0; --words) {
      const NormalizedLine word = normalized_word(rng);
      line.raw += word.raw;
      line.normalized += word.normalized;
      if (rng.randint(4) > 0) add_spaces(1);
    }
    line.normalized = single_spaces(line.normalized);
    lines.push_back(std::move(line));
  }
  return lines;
}

/// Returns the normalised form of a line of English, German or Chinese: of the characters that such lines have.
inline std::string normalized(std::string_view line) {
  std::string result;
  for (const CodePoint& c : CodePoints(line)) {
    if (is_white_space(c.value) || c.value == 0x200B || c.value == 0xFEFF)
      result += ' ';
    else if (c.value >= 0xFF01 && c.value <= 0xFF5D)
      append_utf8(result, c.value - 0xFEE0);
    else if (c.value == 0xFE50)
      result += ',';
    else if (c.value == 0x2026)
      result += "...";
    else
      result += c.bytes;
  }
  return single_spaces(result);
}

}  // namespace eigenformer::testing
