// Conversion of option structs to and from JSON.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "eigenformer/core/added_later.hpp"
#include "eigenformer/core/detail/fast_math.hpp"
#include "eigenformer/core/named_enum.hpp"
#include "eigenformer/io/json.hpp"
#include "eigenformer/text/utf8.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// Which numbers a file may hold.
enum class NumbersInJson {
  options,  ///< finite numbers; an Index is 0 to 2^31, so that a product of two sizes does not overflow
  all       ///< all numbers. Infinity and NaN, which JSON lacks, become the texts "inf", "-inf" and "nan"
};

template <class Options>
Json options_to_json(const Options& options, const std::string& where = "options_to_json",
                     NumbersInJson numbers = NumbersInJson::options);
template <class Options>
Options options_from_json(const Json& json, const std::string& where, NumbersInJson numbers = NumbersInJson::options);

namespace detail {

/// A visitor of options that does nothing.
struct NoVisitor {
  void operator()(auto&&...) const {}
};
/// A struct of options with a function visit_options.
template <class Options>
concept OptionStruct = requires(Options& options, NoVisitor visitor) {
  visit_options(options, visitor);
};

/// Where an option stands in its file, for messages, and which numbers the file may hold.
struct OptionPlace {
  std::string where;
  NumbersInJson numbers = NumbersInJson::options;

  OptionPlace member(const std::string& name) const { return {where + ": \"" + name + '"', numbers}; }
  OptionPlace entry(std::size_t i) const { return {where + '[' + std::to_string(i) + ']', numbers}; }
};

inline void check_option(std::int64_t value, const OptionPlace& place) {
  constexpr std::int64_t largest = std::min<std::int64_t>(std::int64_t{1} << 31, (std::numeric_limits<Index>::max)());
  if (place.numbers == NumbersInJson::options && (value < 0 || value > largest))
    fail(place.where, " is ", value, ", expected a whole number from 0 to 2^31");
}

inline Json option_to_json(Index value, const OptionPlace& place) {
  check_option(value, place);
  return value;
}
inline Json option_to_json(std::uint64_t value, const OptionPlace&) {
  return value;
}
inline Json option_to_json(double value, const OptionPlace& place) {
  if (is_finite(value)) return value;
  check(place.numbers == NumbersInJson::all, place.where, " is ", value, ", expected a finite number");
  if (is_minus_infinity(value)) return "-inf";
  return is_minus_infinity(-value) ? "inf" : "nan";
}
inline Json option_to_json(bool value, const OptionPlace&) {
  return value;
}
inline Json option_to_json(const std::string& value, const OptionPlace& place) {
  check_utf8(value, place.where);
  return value;
}
template <NamedEnum Enum>
Json option_to_json(Enum value, const OptionPlace&) {
  return std::string(to_string(value));
}

template <OptionStruct Options>
Json option_to_json(const Options& options, const OptionPlace& place) {
  return options_to_json(options, place.where, place.numbers);
}
template <class Option>
Json option_to_json(const std::vector<Option>& list, const OptionPlace& place) {
  Json json = Json::array();
  for (std::size_t i = 0; i < list.size(); ++i) json.push_back(option_to_json(list[i], place.entry(i)));
  return json;
}

inline void option_from_json(const Json& json, const OptionPlace& place, Index& value) {
  const bool is_all = place.numbers == NumbersInJson::all;
  if (!json.is_number_integer() || !std::in_range<Index>(json.get<std::int64_t>()) ||
      (json.is_number_unsigned() && !std::in_range<Index>(json.get<std::uint64_t>())))
    fail(place.where, " is ", printable(json.dump()), ", expected a whole number from ",
         is_all ? "-2^63 to 2^63 - 1" : "0 to 2^31");
  check_option(json.get<std::int64_t>(), place);
  value = json.get<Index>();
}
inline void option_from_json(const Json& json, const OptionPlace& place, std::uint64_t& value) {
  if (!json.is_number_unsigned()) fail(place.where, " is ", printable(json.dump()), ", expected a whole number from 0");
  value = json.get<std::uint64_t>();
}
inline void option_from_json(const Json& json, const OptionPlace& place, double& value) {
  using Limits = std::numeric_limits<double>;
  const bool is_text = json.is_string() && place.numbers == NumbersInJson::all;
  if (is_text && json == "nan") {
    value = Limits::quiet_NaN();
  } else if (is_text && (json == "inf" || json == "-inf")) {
    value = json == "inf" ? Limits::infinity() : -Limits::infinity();
  } else {
    if (!json.is_number()) fail(place.where, " is ", printable(json.dump()), ", expected a number");
    value = json.get<double>();
  }
}
inline void option_from_json(const Json& json, const OptionPlace& place, bool& value) {
  if (!json.is_boolean()) fail(place.where, " is ", printable(json.dump()), ", expected true or false");
  value = json.get<bool>();
}
inline const std::string& option_text(const Json& json, const std::string& where) {
  if (!json.is_string()) fail(where, " is ", printable(json.dump()), ", expected a text");
  return json.get_ref<const std::string&>();
}
inline void option_from_json(const Json& json, const OptionPlace& place, std::string& value) {
  value = option_text(json, place.where);
}
template <NamedEnum Enum>
void option_from_json(const Json& json, const OptionPlace& place, Enum& value) {
  value = value_of<Enum>(option_text(json, place.where), place.where);
}
template <OptionStruct Options>
void option_from_json(const Json& json, const OptionPlace& place, Options& options) {
  options = options_from_json<Options>(json, place.where, place.numbers);
}
template <class Option>
void option_from_json(const Json& json, const OptionPlace& place, std::vector<Option>& list) {
  if (!json.is_array()) fail(place.where, " is ", printable(json.dump()), ", expected a list");
  list.assign(json.size(), Option{});
  for (std::size_t i = 0; i < list.size(); ++i) option_from_json(json[i], place.entry(i), list[i]);
}

}  // namespace detail

/// Returns a JSON object with all options of a struct.
///
/// The struct needs a function visit_options(options, visitor) that calls visitor(name, option) for every option, or
/// visitor(name, option, AddedLater()) if older files may lack it. Reading and writing share the function. Enum options
/// must be NamedEnums. An option may be a text, such a struct itself, or a vector of options.
///
/// Throws if options_from_json could not read an option back: a text that is not UTF-8, or a number that `numbers`
/// excludes. `where` is the prefix of the message.
template <class Options>
Json options_to_json(const Options& options, const std::string& where, NumbersInJson numbers) {
  Json json = Json::object();
  const detail::OptionPlace place{where, numbers};
  visit_options(options, [&](const char* name, const auto& value, auto...) {
    json[name] = detail::option_to_json(value, place.member(name));
  });
  return json;
}

/// Returns the options stored by options_to_json. An option with AddedLater may be missing. Throws if another option is
/// missing, or if one is unknown, of another type or a number that `numbers` excludes. `where` is the prefix of the
/// message.
template <class Options>
Options options_from_json(const Json& json, const std::string& where, NumbersInJson numbers) {
  if (!json.is_object()) fail(where, ": is of type ", json.type_name(), ", expected an object");
  Options options;
  const detail::OptionPlace place{where, numbers};
  std::size_t known = 0;
  visit_options(options, [&](const char* name, auto& value, auto... added_later) {
    if (sizeof...(added_later) > 0 && !json.contains(name)) return;
    check(json.contains(name), where, ": has no \"", name, '"');
    detail::option_from_json(json[name], place.member(name), value);
    ++known;
  });
  if (json.size() == known) return options;
  const Json expected = options_to_json(options, where, numbers);
  for (const auto& [name, value] : json.items())
    check(expected.contains(name), where, ": has \"", detail::printable(name), "\", which is not an option");
  return options;
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
