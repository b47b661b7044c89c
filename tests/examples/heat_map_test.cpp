#include "translate/heat_map.hpp"

#include <limits>
#include <sstream>
#include <string>
#include <vector>

#include "eigenformer/core/check.hpp"
#include "support/catch.hpp"
#include "support/contains.hpp"
#include "support/message_of.hpp"

namespace ef = eigenformer;
using ef::testing::contains;
using ef::testing::message_of;
using translate::display_width;
using translate::svg_heat_map;
using Strings = std::vector<std::string>;

namespace {

std::string printed(const ef::Matrix<float>& weights, const Strings& rows, const Strings& cols, bool colour = false) {
  std::ostringstream out;
  translate::print_heat_map(out, weights, rows, cols, colour);
  return out.str();
}

std::size_t count(const std::string& text, const std::string& part) {
  std::size_t number = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + part.size())) ++number;
  return number;
}

ef::Matrix<float> one_weight(float weight) {
  return ef::Matrix<float>::Constant(1, 1, weight);
}

/// Returns the brightness of the colour of the only cell, from 0 to 3 * 255.
int brightness(const std::string& svg) {
  const std::size_t cell = svg.find("fill=\"#", svg.find("class=\"cell\"")) + 7;
  const int colour = std::stoi(svg.substr(cell, 6), nullptr, 16);
  return (colour >> 16) + (colour >> 8) % 256 + colour % 256;
}

}  // namespace

TEST_CASE("characters are as wide as a terminal shows them", "[examples]") {
  CHECK(display_width("") == 0);
  CHECK(display_width("word") == 4);
  CHECK(display_width("自然") == 4);
  CHECK(display_width("한국어") == 6);
  CHECK(display_width("ひらがな") == 8);
  CHECK(display_width("，") == 2);
  CHECK(display_width("é") == 1);
  CHECK(display_width("e\xCC\x81") == 1);  // with a combining accent
  CHECK(display_width("▁a█") == 3);
  CHECK_THROWS_AS(display_width("\xFF"), ef::Error);
}

TEST_CASE("a heat map is printed with stems from the labels to their columns", "[examples]") {
  ef::Matrix<float> weights(2, 3);
  weights << 0.97F, 0.03F, 0, 0.05F, 0.3F, 0.65F;
  CHECK(printed(weights, {"自然", "x"}, {"natural", "ok", "语言"}) ==
        "      natural\n"
        "      │     ok\n"
        "      │     │     语言\n"
        "自然  ██ 97\n"
        "x     ░░  5 ▒▒ 30 ▓▓ 65\n");
}

TEST_CASE("numbers are left out where lines would get too long", "[examples]") {
  const Strings cols(13, "word");
  const ef::Matrix<float> weights = ef::Matrix<float>::Constant(1, 13, 0.5F);
  CHECK(contains(printed(weights, {""}, cols), "▓▓ 50"));
  const std::string narrow = printed(weights, {"x"}, cols);
  CHECK(count(narrow, "▓▓") == 13);
  CHECK_FALSE(contains(narrow, "50"));
}

TEST_CASE("escape sequences are printed only when colour is asked for", "[examples]") {
  ef::Matrix<float> weights(1, 2);
  weights << 0.75F, 0.25F;
  CHECK_FALSE(contains(printed(weights, {"a"}, {"b", "c"}), "\x1b"));
  CHECK_FALSE(contains(printed(weights, {"a\x1b[1m"}, {"b\n", "c"}), "\x1b"));
  const std::string coloured = printed(weights, {"a"}, {"b", "c"}, true);
  CHECK(contains(coloured, "\x1b[1;34m██ 75\x1b[0m \x1b[34m▒▒ 25\x1b[0m"));
}

TEST_CASE("more weight is darker", "[examples]") {
  const Strings shades{"  ", "░░", "▒▒", "▓▓", "██"};
  std::size_t shade = 0;
  int last = std::numeric_limits<int>::max();
  for (int percent = 0; percent <= 100; ++percent) {
    CAPTURE(percent);
    const ef::Matrix<float> weights = one_weight(static_cast<float>(percent) / 100);
    const std::string text = printed(weights, {"a"}, {"b"});
    if (shade + 1 < shades.size() && contains(text, shades[shade + 1])) ++shade;
    CHECK((shade == 0 || contains(text, shades[shade])));
    const int now = brightness(svg_heat_map(weights, Strings{"a"}, Strings{"b"}, ""));
    CHECK(now < last);
    last = now;
  }
  CHECK(shade == 4);
}

TEST_CASE("an SVG heat map has a cell for each weight", "[examples]") {
  ef::Matrix<float> weights(2, 3);
  weights << 0.873F, 0.1F, 0.027F, 0, 0, 1;
  const std::string svg = svg_heat_map(weights, Strings{"自然", "语言"}, Strings{"a", "b", "c"}, "title");
  CHECK(svg.substr(0, 5) == "<svg ");
  CHECK(count(svg, "<g class=\"cell\">") == 6);
  CHECK(count(svg, "class=\"number") == 3);  // those from 5 %
  CHECK(contains(svg, "<title>自然 ← a: 87.3 %</title>"));
  CHECK(contains(svg, "<title>自然 ← c: 2.7 %</title>"));
  CHECK(contains(svg, ">87</text>"));
  CHECK(contains(svg, "<title>title</title>"));
  for (const std::string element : {"svg", "g", "text", "title", "style"}) {
    CAPTURE(element);
    CHECK(count(svg, "</" + element + ">") == count(svg, "<" + element + ">") + count(svg, "<" + element + " "));
  }
}

TEST_CASE("labels and title are escaped", "[examples]") {
  const std::string svg =
      svg_heat_map(one_weight(1), Strings{"</s>"}, Strings{"a\"&\x01\xEF\xBF\xBE\xEF\xBF\xBF"}, "<script>");
  CHECK_FALSE(contains(svg, "</s>"));
  CHECK_FALSE(contains(svg, "<script>"));
  CHECK_FALSE(contains(svg, "\x01"));
  CHECK(contains(svg, "&lt;/s&gt; ← a&quot;&amp;\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD: 100.0 %"));
  CHECK(contains(svg, "<title>&lt;script&gt;</title>"));
}

TEST_CASE("a heat map that cannot be drawn is an error", "[examples]") {
  const ef::Matrix<float> weights = ef::Matrix<float>::Zero(2, 3);
  const Strings two(2, "a");
  const Strings three(3, "b");
  CHECK(message_of([&] { printed(weights, three, two); }) == "print_heat_map: weights is [2 x 3], expected [3 x 2]");
  CHECK(message_of([&] { svg_heat_map(weights, two, two, ""); }) ==
        "svg_heat_map: weights is [2 x 3], expected [2 x 2]");
  for (const float wrong : {-0.1F, 1.1F, std::numeric_limits<float>::quiet_NaN()}) {
    CAPTURE(wrong);
    CHECK(message_of([&] { printed(one_weight(wrong), {"a"}, {"b"}); }) == "print_heat_map: a weight is not in 0 to 1");
    CHECK_THROWS_AS(svg_heat_map(one_weight(wrong), Strings{"a"}, Strings{"b"}, ""), ef::Error);
  }
  CHECK(message_of([&] { printed(one_weight(1), {"\xFF"}, {"b"}); }) == "heat map label: invalid UTF-8 at byte 0");
}

TEST_CASE("a heat map may have no cells", "[examples]") {
  CHECK(printed(ef::Matrix<float>(0, 0), {}, {}).empty());
  CHECK(count(svg_heat_map(ef::Matrix<float>(0, 0), Strings{}, Strings{}, ""), "class=\"cell\"") == 0);
}
