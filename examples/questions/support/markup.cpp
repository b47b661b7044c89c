#include "questions/support/markup.hpp"

#include <algorithm>
#include <cmath>

#include "eigenformer/text/utf8.hpp"

namespace questions {

std::string escaped(std::string_view text) {
  std::string safe;
  for (const eigenformer::CodePoint& c : eigenformer::CodePoints(text, "escaped")) {
    const bool control =
        c.value < 0x20 || (c.value >= 0x7F && c.value < 0xA0) || c.value == 0xFFFE || c.value == 0xFFFF;
    if (control)
      safe += "\xEF\xBF\xBD";
    else if (c.value == '&')
      safe += "&amp;";
    else if (c.value == '<')
      safe += "&lt;";
    else if (c.value == '>')
      safe += "&gt;";
    else if (c.value == '"')
      safe += "&quot;";
    else
      safe += c.bytes;
  }
  return safe;
}

// Formats whole numbers, because printf follows the locale and some standard libraries lack to_chars for double.
std::string decimal(double value, int decimals) {
  if (!std::isfinite(value)) return "-";
  const double scaled = std::round(std::abs(value) * std::pow(10.0, decimals));
  if (scaled > 9e15) return significant(value, 6);
  std::string digits = std::to_string(static_cast<long long>(scaled));
  const auto places = static_cast<std::size_t>(std::max(decimals, 0));
  if (digits.size() <= places) digits.insert(0, places + 1 - digits.size(), '0');
  if (places > 0) digits.insert(digits.size() - places, 1, '.');
  return (value < 0 && scaled > 0 ? "-" : "") + digits;
}

std::string significant(double value, int digits) {
  if (!std::isfinite(value)) return "-";
  if (value == 0) return "0";
  auto exponent = static_cast<int>(std::floor(std::log10(std::abs(value))));
  // Rounding may add a digit: 9.996 becomes 10.0.
  if (std::round(std::abs(value) * std::pow(10.0, digits - 1 - exponent)) >= std::pow(10.0, digits)) ++exponent;
  if (exponent < -4 || exponent > 8) {
    const double mantissa = value * std::pow(10.0, -exponent);
    return decimal(mantissa, digits - 1) + 'e' + std::to_string(exponent);
  }
  if (exponent >= digits) {
    const double unit = std::pow(10.0, exponent + 1 - digits);
    return decimal(std::round(value / unit) * unit, 0);
  }
  return decimal(value, digits - 1 - exponent);
}

std::string percent(double share, int decimals) {
  return decimal(100 * share, decimals) + " %";
}

}  // namespace questions
