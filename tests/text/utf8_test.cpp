#include "eigenformer/text/utf8.hpp"

#include <algorithm>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/message_of.hpp"

namespace ef = eigenformer;
using ef::testing::message_of;

namespace {

/// Where the first byte stands that is not UTF-8, read off the Unicode Standard's table 3-7 of well-formed sequences.
std::size_t invalid_by_table(const std::string& text) {
  struct Range {
    int low, high;
  };
  const std::vector<std::vector<Range>> rows{{{0x00, 0x7F}},
                                             {{0xC2, 0xDF}, {0x80, 0xBF}},
                                             {{0xE0, 0xE0}, {0xA0, 0xBF}, {0x80, 0xBF}},
                                             {{0xE1, 0xEC}, {0x80, 0xBF}, {0x80, 0xBF}},
                                             {{0xED, 0xED}, {0x80, 0x9F}, {0x80, 0xBF}},
                                             {{0xEE, 0xEF}, {0x80, 0xBF}, {0x80, 0xBF}},
                                             {{0xF0, 0xF0}, {0x90, 0xBF}, {0x80, 0xBF}, {0x80, 0xBF}},
                                             {{0xF1, 0xF3}, {0x80, 0xBF}, {0x80, 0xBF}, {0x80, 0xBF}},
                                             {{0xF4, 0xF4}, {0x80, 0x8F}, {0x80, 0xBF}, {0x80, 0xBF}}};
  const auto fits = [&](const std::vector<Range>& row, std::size_t offset) {
    for (std::size_t i = 0; i < row.size(); ++i) {
      if (offset + i >= text.size()) return false;
      const int byte = static_cast<unsigned char>(text[offset + i]);
      if (byte < row[i].low || byte > row[i].high) return false;
    }
    return true;
  };
  std::size_t offset = 0;
  while (offset < text.size()) {
    const auto row = std::find_if(rows.begin(), rows.end(), [&](const auto& r) { return fits(r, offset); });
    if (row == rows.end()) return offset;
    offset += row->size();
  }
  return std::string::npos;
}

}  // namespace

TEST_CASE("every code point survives being written and read", "[text]") {
  std::string text;
  std::u32string values;
  for (char32_t c = 0; c <= 0x10FFFF; ++c) {
    if (c == 0xD800) c = 0xE000;
    values.push_back(c);
    ef::append_utf8(text, c);
  }
  CHECK(text.size() == 0x80 + 2 * (0x800 - 0x80) + 3 * (0x10000 - 0x800 - 0x800) + 4 * 0x100000);
  CHECK(ef::find_invalid_utf8(text) == std::string::npos);
  CHECK(ef::decode_utf8(text) == values);
  const std::vector<std::string_view> parts = ef::split_code_points(text);
  REQUIRE(parts.size() == values.size());
  std::string joined;
  for (const std::string_view part : parts) joined += part;
  CHECK(joined == text);
}

TEST_CASE("exactly what the Unicode Standard calls ill-formed is invalid", "[text]") {
  // The bytes at the borders of the standard's ranges, four at a time.
  const std::string bytes =
      "\x01\x7F\x80\x8F\x90\x9F\xA0\xBF\xC0\xC1\xC2\xDF\xE0\xE1\xEC\xED\xEE\xEF\xF0\xF1\xF3\xF4\xF5\xF8\xFF";
  std::size_t wrong = 0;
  std::size_t valid = 0;
  for (const char a : bytes)
    for (const char b : bytes)
      for (const char c : bytes)
        for (const char d : bytes) {
          const std::string text{a, b, c, d};
          const std::size_t invalid = ef::find_invalid_utf8(text);
          if (invalid != invalid_by_table(text)) ++wrong;
          if (invalid == std::string::npos) ++valid;
        }
  CHECK(wrong == 0);
  CHECK(valid > 100);
}

TEST_CASE("an invalid byte is found at every place in a text", "[text]") {
  for (const std::string& around : {std::string(27, 'a'), std::string("ab\xC3\xA4") + std::string(17, 'c')}) {
    CHECK(ef::find_invalid_utf8(around) == std::string_view::npos);
    for (std::size_t place = 0; place <= around.size(); ++place) {
      if (place > 0 && around.substr(0, place).back() == '\xC3') continue;  // inside a character
      const std::string broken = around.substr(0, place) + '\x80' + around.substr(place);
      CHECK(ef::find_invalid_utf8(broken) == place);
    }
  }
}

TEST_CASE("errors name the byte", "[text]") {
  CHECK(message_of([] { ef::check_utf8("seventeen letters\xFF", "here"); }) == "here: invalid UTF-8 at byte 17");
  CHECK(message_of([] { ef::check_utf8("ab\xE4\xBD", "cut"); }) == "cut: invalid UTF-8 at byte 2");
  CHECK(message_of([] { ef::split_code_points("a\xC0\x80"); }) == "split_code_points: invalid UTF-8 at byte 1");
  CHECK(message_of([] { ef::decode_utf8("\xED\xA0\x80"); }) == "decode_utf8: invalid UTF-8 at byte 0");
  CHECK(message_of([] { ef::split_words("a b \xF4\x90\x80\x80"); }) == "split_words: invalid UTF-8 at byte 4");
  std::string text;
  CHECK(message_of([&] { ef::append_utf8(text, 0xD800); }) == "append_utf8: 55296 is not a code point");
  CHECK(message_of([&] { ef::append_utf8(text, 0x110000); }) == "append_utf8: 1114112 is not a code point");
  REQUIRE_NOTHROW(ef::check_utf8("", "empty"));
  REQUIRE_NOTHROW(ef::check_utf8(std::string_view("a\0b", 3), "with a zero byte"));
}

TEST_CASE("code points can be gone over one by one", "[text]") {
  const std::string text = "a\xC3\xA9\xE4\xBD\xA0\xF0\x9F\x98\x80";  // U+61, U+E9, U+4F60, U+1F600
  std::vector<char32_t> values;
  std::vector<std::string> bytes;
  for (const ef::CodePoint& c : ef::CodePoints(text)) {
    values.push_back(c.value);
    bytes.emplace_back(c.bytes);
  }
  CHECK(values == std::vector<char32_t>{0x61, 0xE9, 0x4F60, 0x1F600});
  CHECK(bytes == std::vector<std::string>{"a", "\xC3\xA9", "\xE4\xBD\xA0", "\xF0\x9F\x98\x80"});
  auto iterator = ef::CodePoints(text).begin();
  CHECK(iterator++->value == 0x61);
  CHECK(iterator->value == 0xE9);
}

TEST_CASE("white space is Python's", "[text]") {
  // [hex(c) for c in range(0x110000) if chr(c).isspace()]
  const std::vector<char32_t> expected{0x9,    0xa,    0xb,    0xc,    0xd,    0x1c,   0x1d,   0x1e,   0x1f,   0x20,
                                       0x85,   0xa0,   0x1680, 0x2000, 0x2001, 0x2002, 0x2003, 0x2004, 0x2005, 0x2006,
                                       0x2007, 0x2008, 0x2009, 0x200a, 0x2028, 0x2029, 0x202f, 0x205f, 0x3000};
  std::vector<char32_t> found;
  for (char32_t c = 0; c <= 0x10FFFF; ++c)
    if (ef::is_white_space(c)) found.push_back(c);
  CHECK(found == expected);
}

TEST_CASE("words are parted at any white space", "[text]") {
  using Words = std::vector<std::string_view>;
  CHECK(ef::split_words("").empty());
  CHECK(ef::split_words(" \t\xE3\x80\x80").empty());
  CHECK(ef::split_words("one") == Words{"one"});
  CHECK(ef::split_words("  one\ttwo\xC2\xA0three\xE3\x80\x80\xE4\xBD\xA0 ") ==
        Words{"one", "two", "three", "\xE4\xBD\xA0"});
}

TEST_CASE("characters have their classes", "[text]") {
  // Han of the planes 0, 2 and 3; an iteration mark and zero; hiragana; katakana, also halfwidth; the length mark.
  for (const char32_t c : std::vector<char32_t>{0x4E00, 0x9FFF, 0x3400, 0xF900, 0x20000, 0x30000, 0x3005, 0x3007,
                                                0x3042, 0x30A2, 0x31F0, 0xFF71, 0x30FC}) {
    CAPTURE(static_cast<unsigned>(c));
    CHECK(ef::is_han_or_kana(c));
    CHECK_FALSE(ef::is_punctuation(c));
  }
  // Latin, Cyrillic, Hangul, digits, fullwidth Latin: letters, but not of Chinese or Japanese.
  for (const char32_t c : std::vector<char32_t>{0x41, 0x7A, 0x39, 0xE9, 0xB5, 0x436, 0x5D0, 0xAC00, 0xFF21, 0xFF11}) {
    CAPTURE(static_cast<unsigned>(c));
    CHECK_FALSE(ef::is_han_or_kana(c));
    CHECK_FALSE(ef::is_punctuation(c));
  }
  // ASCII's, typographic, CJK's, fullwidth, the middle dot of katakana, an emoji.
  for (const char32_t c : std::vector<char32_t>{0x21, 0x2F, 0x40, 0x5F, 0x7E, 0xAB, 0xBF, 0x2019, 0x2026, 0x20AC,
                                                0x3001, 0x3002, 0x300C, 0xFF0C, 0xFF1F, 0x30FB, 0x1F600}) {
    CAPTURE(static_cast<unsigned>(c));
    CHECK_FALSE(ef::is_han_or_kana(c));
    CHECK(ef::is_punctuation(c));
  }
  for (const char32_t c : std::vector<char32_t>{0x20, 0x3000, 0xA0, 0x0A}) {
    CAPTURE(static_cast<unsigned>(c));
    CHECK_FALSE(ef::is_han_or_kana(c));
    CHECK_FALSE(ef::is_punctuation(c));
  }
}
