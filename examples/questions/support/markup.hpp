// Text and numbers as they stand in SVG, HTML and tables.
#pragma once

#include <string>
#include <string_view>

namespace questions {

/// The text with what XML and HTML take for markup replaced; control characters become U+FFFD. Throws if it is not
/// UTF-8.
std::string escaped(std::string_view text);

/// The number with this many decimals: decimal(2.345, 1) is "2.3". The same in every locale. "-" if it is not finite.
std::string decimal(double value, int decimals);

/// With `digits` digits that count: "1230", "0.0123", and "1.2e-9" where zeros would be too many.
std::string significant(double value, int digits = 3);

/// A share as "87.3 %".
std::string percent(double share, int decimals = 1);

}  // namespace questions
