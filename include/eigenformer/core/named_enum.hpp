// Enums with named values, for messages, command lines and files.
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <type_traits>

#include "eigenformer/core/check.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

template <class Enum>
struct EnumName {
  Enum value;
  std::string_view name;
};

/// An enum with a function enum_names, in the enum's namespace, that lists its values and their names:
///
///   enum class Colour { red, blue };
///   constexpr auto enum_names(Colour) {
///     return std::to_array<EnumName<Colour>>({{Colour::red, "red"}, {Colour::blue, "blue"}});
///   }
template <class Enum>
concept NamedEnum = std::is_enum_v<Enum> && requires {
  enum_names(Enum{});
};

/// Returns the name of a value. Throws if enum_names does not list it.
template <NamedEnum Enum>
std::string_view to_string(Enum value) {
  for (const EnumName<Enum>& entry : enum_names(Enum{}))
    if (entry.value == value) return entry.name;
  fail("to_string: ", static_cast<int>(value), " is no value of the enum");
}

/// Returns all values of the enum, in the order of enum_names.
template <NamedEnum Enum>
constexpr auto values_of() {
  constexpr auto names = enum_names(Enum{});
  std::array<Enum, names.size()> values{};
  for (std::size_t i = 0; i < names.size(); ++i) values[i] = names[i].value;
  return values;
}

/// Returns the value with the given name. Throws if there is none; the message begins with `where`.
template <NamedEnum Enum>
Enum value_of(std::string_view name, std::string_view where = "value_of") {
  constexpr auto names = enum_names(Enum{});
  std::string expected;
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (names[i].name == name) return names[i].value;
    expected += i == 0 ? "" : i + 1 == names.size() ? " or " : ", ";
    expected += names[i].name;
  }
  fail(where, ": expected ", expected, ", given \"", name, '"');
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
