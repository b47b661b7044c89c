// Formats text and numbers for SVG, HTML and tables.
#pragma once

#include <string>
#include <string_view>

namespace questions {

/// Escapes the text for XML and HTML and replaces control characters by U+FFFD. Throws if the text is not UTF-8.
std::string escaped(std::string_view text);

/// Formats a number with a fixed number of decimals, in any locale: decimal(2.345, 1) is "2.3". Returns "-" if the
/// number is not finite.
std::string decimal(double value, int decimals);

/// Formats a number with `digits` significant digits: "1230", "0.0123". Uses an exponent below 1e-4 and from 1e9:
/// "1.23e-9".
std::string significant(double value, int digits = 3);

/// Formats a share as a percentage: "87.3 %".
std::string percent(double share, int decimals = 1);

}  // namespace questions
