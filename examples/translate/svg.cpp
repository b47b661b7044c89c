#include "translate/svg.hpp"

#include "eigenformer/text/utf8.hpp"

namespace translate {

using eigenformer::Index;

std::string concatenate(std::initializer_list<std::string_view> parts) {
  std::string text;
  for (const std::string_view part : parts) text += part;
  return text;
}

std::string printable(std::string_view text, const char* where) {
  const auto is_control = [](char32_t c) {
    return c < 0x20 || (c >= 0x7F && c < 0xA0) || c == 0xFFFE || c == 0xFFFF;  // the last two are not in XML
  };
  std::string result;
  for (const eigenformer::CodePoint& c : eigenformer::CodePoints(text, where))
    result += is_control(c.value) ? "\xEF\xBF\xBD" : c.bytes;
  return result;
}

std::string escaped(std::string_view text) {
  std::string safe;
  for (const char c : text) {
    if (c == '&')
      safe += "&amp;";
    else if (c == '<')
      safe += "&lt;";
    else if (c == '>')
      safe += "&gt;";
    else if (c == '"')
      safe += "&quot;";
    else
      safe += c;
  }
  return safe;
}

std::string attribute(std::string_view name, Index value) {
  return concatenate({" ", name, "=\"", std::to_string(value), "\""});
}

std::string svg_text(Index x, Index y, std::string_view style_class, std::string_view text, Index degrees) {
  const std::string turn = concatenate(
      {" transform=\"rotate(", std::to_string(degrees), " ", std::to_string(x), " ", std::to_string(y), ")\""});
  return concatenate({"<text class=\"", style_class, "\"", attribute("x", x), attribute("y", y),
                      degrees == 0 ? "" : turn, ">", escaped(text), "</text>\n"});
}

std::string svg_begin(Index width, Index height, std::string_view title, std::string_view style) {
  const std::string view = concatenate({" viewBox=\"0 0 ", std::to_string(width), " ", std::to_string(height), "\""});
  return concatenate({"<svg xmlns=\"http://www.w3.org/2000/svg\" role=\"img\"", attribute("width", width),
                      attribute("height", height), view, ">\n<title>", escaped(title), "</title>\n", style});
}

}  // namespace translate
