// Strict JSON parsing, with line and column in error messages.
#pragma once

#include <algorithm>
#include <cstddef>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "eigenformer/core/check.hpp"
#include "eigenformer/io/detail/printable.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

using Json = nlohmann::json;

namespace detail {

/// Builds a value from SAX events. It rejects duplicate keys, which nlohmann's own builder silently overwrites, and
/// reports errors without exceptions.
class JsonBuilder {
 public:
  bool null() { return place(nullptr); }
  bool boolean(bool value) { return place(value); }
  bool number_integer(Json::number_integer_t value) { return place(value); }
  bool number_unsigned(Json::number_unsigned_t value) { return place(value); }
  bool number_float(Json::number_float_t value, const std::string&) { return place(value); }
  bool string(std::string& value) { return place(std::move(value)); }
  bool binary(Json::binary_t&) { return false; }  // does not occur in JSON text
  bool start_object(std::size_t) { return open(Json::object()); }
  bool end_object() { return close(); }
  bool start_array(std::size_t) { return open(Json::array()); }
  bool end_array() { return close(); }
  bool key(std::string& name) {
    const auto [member, is_new] = open_.back()->get_ref<Json::object_t&>().emplace(name, nullptr);
    if (!is_new) error_ = "the key \"" + printable(name) + "\" stands twice in one object";
    member_ = &member->second;
    return is_new;
  }
  bool parse_error(std::size_t position, const std::string&, const Json::exception&) {
    error_position_ = position;
    error_ = "not valid JSON";
    return false;
  }

  Json& value() { return value_; }
  const std::string& error() const { return error_; }
  std::size_t error_position() const { return error_position_; }

 private:
  static constexpr std::size_t deepest = 100;

  Json* put(Json value) {
    if (open_.empty()) {
      value_ = std::move(value);
      return &value_;
    }
    if (open_.back()->is_array()) {
      open_.back()->push_back(std::move(value));
      return &open_.back()->back();
    }
    *member_ = std::move(value);
    return member_;
  }
  bool place(Json value) {
    put(std::move(value));
    return true;
  }
  bool open(Json value) {
    if (open_.size() == deepest) {
      error_ = "more than " + std::to_string(deepest) + " objects and arrays inside one another";
      return false;
    }
    open_.push_back(put(std::move(value)));
    return true;
  }
  bool close() {
    open_.pop_back();
    return true;
  }

  Json value_;
  std::vector<Json*> open_;  // pointers stay valid, because a container does not grow while one inside it is open
  Json* member_ = nullptr;   // the last key's value
  std::string error_;
  std::size_t error_position_ = 0;
};

}  // namespace detail

/// Parses a JSON text and returns its value. Throws if the text is not valid JSON, if an object has duplicate keys, or
/// if values are nested too deeply. `where` is the prefix of the message, for example "config.json" in
/// "config.json: line 3, column 7: not valid JSON".
inline Json parse_json(std::string_view text, std::string_view where) {
  // The parser would take a zero byte for the end of the text.
  check(text.find('\0') == std::string_view::npos, where, ": not valid JSON: there is a zero byte");
  detail::JsonBuilder builder;
  if (!Json::sax_parse(text.begin(), text.end(), &builder)) {
    const std::size_t position = builder.error_position();  // bytes read, including the invalid one
    if (position == 0) fail(where, ": ", builder.error());
    const std::string_view good = text.substr(0, position - 1);
    const std::size_t line_begin = good.rfind('\n') + 1;  // npos + 1 is 0
    fail(where, ": line ", std::count(good.begin(), good.end(), '\n') + 1, ", column ", good.size() - line_begin + 1,
         ": ", builder.error());
  }
  return std::move(builder.value());
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
