// Values that options accept: names of enums, and ranges of numbers. Every numeric option has a range, so that no value
// needs more memory than machines have.
#pragma once

#include <CLI/CLI.hpp>
#include <charconv>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <string>
#include <vector>

#include "eigenformer/core/named_enum.hpp"

namespace translate {

/// Returns the names of all values of an enum.
template <class Enum>
std::vector<std::string> names_of() {
  std::vector<std::string> names;
  for (const Enum value : eigenformer::values_of<Enum>()) names.emplace_back(eigenformer::to_string(value));
  return names;
}

/// Returns how a message quotes a value.
inline std::string or_empty(const std::string& given) {
  return given.empty() ? "empty" : given;
}

/// Accepts whole numbers from `smallest` to `largest`.
inline CLI::Validator whole_in(std::uint64_t smallest, std::uint64_t largest) {
  const std::string range = std::to_string(smallest) + " to " + std::to_string(largest);
  return CLI::Validator(
      [=](const std::string& given) {
        std::uint64_t number = 0;
        const char* const end = given.data() + given.size();
        const auto [parsed, error] = std::from_chars(given.data(), end, number);
        // CLI11 would read a number that begins with 0 as octal.
        const bool is_decimal = error == std::errc() && parsed == end && std::to_string(number) == given;
        const bool accepted = is_decimal && number >= smallest && number <= largest;
        const bool has_zeros = error == std::errc() && parsed == end && !is_decimal;
        return accepted ? std::string()
                        : "is " + or_empty(given) + ", expected a whole number from " + range +
                              (has_zeros ? ", without leading zeros" : "");
      },
      range);
}

/// Accepts numbers from `smallest` to `largest`. range: describes them in messages and help texts.
inline CLI::Validator number_in(double smallest, double largest, const std::string& range) {
  return CLI::Validator(
      [=](const std::string& given) {
        char* parsed = nullptr;
        const double number = std::strtod(given.c_str(), &parsed);
        const bool is_number = !given.empty() && parsed == given.c_str() + given.size();
        const bool accepted = is_number && number >= smallest && number <= largest;
        return accepted ? std::string() : "is " + or_empty(given) + ", expected a number " + range;
      },
      range);
}
/// Accepts numbers above 0, up to `largest`.
inline CLI::Validator above_0_up_to(int largest) {
  return number_in(std::numeric_limits<double>::min(), largest, "above 0, at most " + std::to_string(largest));
}

}  // namespace translate
