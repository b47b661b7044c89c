// Conversion of option structs to and from JSON.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "eigenformer/core/added_later.hpp"
#include "eigenformer/core/named_enum.hpp"
#include "eigenformer/io/json.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

template <class Options>
Json options_to_json(const Options& options);
template <class Options>
Options options_from_json(const Json& json, const std::string& where);

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

inline Json option_to_json(Index value) {
  return value;
}
inline Json option_to_json(std::uint64_t value) {
  return value;
}
inline Json option_to_json(double value) {
  return value;
}
inline Json option_to_json(bool value) {
  return value;
}
inline Json option_to_json(const std::string& value) {
  return value;
}
template <NamedEnum Enum>
Json option_to_json(Enum value) {
  return std::string(to_string(value));
}

template <OptionStruct Options>
Json option_to_json(const Options& options) {
  return options_to_json(options);
}
template <class Option>
Json option_to_json(const std::vector<Option>& list) {
  Json json = Json::array();
  for (const Option& option : list) json.push_back(option_to_json(option));
  return json;
}

inline void option_from_json(const Json& json, const std::string& where, Index& value) {
  if (!json.is_number_integer() || json.get<std::int64_t>() < 0 || json.get<std::int64_t>() > (std::int64_t{1} << 31))
    fail(where, " is ", json.dump(), ", expected a whole number from 0 to 2^31");
  value = json.get<Index>();
}
inline void option_from_json(const Json& json, const std::string& where, std::uint64_t& value) {
  if (!json.is_number_unsigned()) fail(where, " is ", json.dump(), ", expected a whole number from 0");
  value = json.get<std::uint64_t>();
}
inline void option_from_json(const Json& json, const std::string& where, double& value) {
  if (!json.is_number()) fail(where, " is ", json.dump(), ", expected a number");
  value = json.get<double>();
}
inline void option_from_json(const Json& json, const std::string& where, bool& value) {
  if (!json.is_boolean()) fail(where, " is ", json.dump(), ", expected true or false");
  value = json.get<bool>();
}
inline const std::string& option_text(const Json& json, const std::string& where) {
  if (!json.is_string()) fail(where, " is ", json.dump(), ", expected a text");
  return json.get_ref<const std::string&>();
}
inline void option_from_json(const Json& json, const std::string& where, std::string& value) {
  value = option_text(json, where);
}
template <NamedEnum Enum>
void option_from_json(const Json& json, const std::string& where, Enum& value) {
  value = value_of<Enum>(option_text(json, where), where);
}
template <OptionStruct Options>
void option_from_json(const Json& json, const std::string& where, Options& options) {
  options = options_from_json<Options>(json, where);
}
template <class Option>
void option_from_json(const Json& json, const std::string& where, std::vector<Option>& list) {
  if (!json.is_array()) fail(where, " is ", json.dump(), ", expected a list");
  list.assign(json.size(), Option{});
  for (std::size_t i = 0; i < list.size(); ++i)
    option_from_json(json[i], where + '[' + std::to_string(i) + ']', list[i]);
}

}  // namespace detail

/// Returns a JSON object with all options of a struct.
///
/// The struct needs a function visit_options(options, visitor) that calls visitor(name, option) for every option, or
/// visitor(name, option, AddedLater()) if older files may lack it. Reading and writing share the function. Enum options
/// must be NamedEnums. An option may be a text, such a struct itself, or a vector of options.
template <class Options>
Json options_to_json(const Options& options) {
  Json json = Json::object();
  visit_options(options,
                [&](const char* name, const auto& value, auto...) { json[name] = detail::option_to_json(value); });
  return json;
}

/// Returns the options stored by options_to_json. An option with AddedLater may be missing. Throws if another option is
/// missing, or if one is unknown or of another type. `where` is the prefix of the message.
template <class Options>
Options options_from_json(const Json& json, const std::string& where) {
  if (!json.is_object()) fail(where, ": is of type ", json.type_name(), ", expected an object");
  Options options;
  std::size_t known = 0;
  visit_options(options, [&](const char* name, auto& value, auto... added_later) {
    if (sizeof...(added_later) > 0 && !json.contains(name)) return;
    check(json.contains(name), where, ": has no \"", name, '"');
    detail::option_from_json(json[name], where + ": \"" + name + '"', value);
    ++known;
  });
  if (json.size() == known) return options;
  const Json expected = options_to_json(options);
  for (const auto& [name, value] : json.items())
    check(expected.contains(name), where, ": has \"", name, "\", which is not an option");
  return options;
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
