#include "translate/serve_fields.hpp"

#include <cmath>

namespace translate {

std::string short_text(const ef::Json& value) {
  constexpr std::size_t longest = 60;
  std::string text = value.dump();
  if (text.size() <= longest) return text;
  std::size_t end = longest - 3;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;  // not inside a character
  return text.substr(0, end) + "...";
}

Fields::Fields(const std::string& body) {
  try {
    object_ = ef::parse_json(body, "request");
  } catch (const ef::Error& error) {
    throw RequestError(400, error.what());
  }
  if (!object_.is_object()) refuse("request", object_, "a JSON object");
}

void Fields::refuse(const std::string& name, const ef::Json& given, const std::string& expected) {
  throw RequestError(400, name + ": is " + short_text(given) + ", expected " + expected);
}

const ef::Json* Fields::find(const std::string& name) {
  known_.insert(name);
  const auto member = object_.find(name);
  return member == object_.end() ? nullptr : &*member;
}

void Fields::read(const std::string& name, bool& value) {
  const ef::Json* const given = find(name);
  if (given == nullptr) return;
  if (!given->is_boolean()) refuse(name, *given, "true or false");
  value = given->get<bool>();
}

void Fields::read(const std::string& name, std::string& value) {
  const ef::Json* const given = find(name);
  if (given == nullptr) return;
  if (!given->is_string()) refuse(name, *given, "a string");
  value = given->get<std::string>();
}

void Fields::read(const std::string& name, std::vector<std::string>& values) {
  const ef::Json* const given = find(name);
  if (given == nullptr) return;
  if (!given->is_array()) refuse(name, *given, "a list of strings");
  values.clear();
  for (const ef::Json& each : *given) {
    if (!each.is_string()) refuse(name + '[' + std::to_string(values.size()) + ']', each, "a string");
    values.push_back(each.get<std::string>());
  }
}

void Fields::read_one_or_more(const std::string& name, std::vector<std::string>& values) {
  const ef::Json* const given = find(name);
  if (given != nullptr && !given->is_array() && !given->is_string())
    refuse(name, *given, "a string or a list of strings");
  if (given != nullptr && given->is_string())
    values = {given->get<std::string>()};
  else
    read(name, values);
}

void Fields::read(const std::string& name, ef::Index& value, ef::Index least, ef::Index most) {
  const ef::Json* const given = find(name);
  if (given == nullptr) return;
  // Signed and unsigned numbers are distinct in nlohmann-json, and compare by value.
  if (!given->is_number_integer() || *given < least || *given > most)
    refuse(name, *given, "a whole number from " + std::to_string(least) + " to " + std::to_string(most));
  value = given->get<ef::Index>();
}

void Fields::read(const std::string& name, double& value, bool (*is_good)(double), const char* expected) {
  const ef::Json* const given = find(name);
  if (given == nullptr) return;
  if (!given->is_number() || !std::isfinite(given->get<double>()) || !is_good(given->get<double>()))
    refuse(name, *given, std::string("a number ") + expected);
  value = given->get<double>();
}

void Fields::read_seed(const std::string& name, std::uint64_t& value) {
  const ef::Json* const given = find(name);
  if (given == nullptr) return;
  // JSON's -0 is a signed number.
  if (!given->is_number_integer() || (!given->is_number_unsigned() && given->get<std::int64_t>() < 0))
    refuse(name, *given, "a whole number from 0 to 18446744073709551615");
  value = given->get<std::uint64_t>();
}

void Fields::check_all_known() const {
  for (const auto& [name, value] : object_.items()) {
    if (known_.contains(name)) continue;
    std::string expected;
    for (const std::string& each : known_) expected += (expected.empty() ? "" : ", ") + each;
    throw RequestError(400, short_text(name) + ": is not an option, expected one of " + expected);
  }
}

}  // namespace translate
