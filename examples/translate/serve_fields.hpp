// Reads the members of a request's JSON object. Each error names the member, what was expected and what was given.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "eigenformer/core/named_enum.hpp"
#include "eigenformer/core/types.hpp"
#include "eigenformer/io/json.hpp"

namespace translate {

namespace ef = eigenformer;

/// An error for a client: an HTTP status and a message.
class RequestError : public ef::Error {
 public:
  RequestError(int status, const std::string& message) : Error(message), status_(status) {}
  int status() const { return status_; }

 private:
  int status_;
};

/// Returns the value as JSON of at most 60 bytes, for messages.
std::string short_text(const ef::Json& value);

/// The members of an object. Absent members keep their defaults. Every function throws a RequestError of status 400.
class Fields {
 public:
  /// Parses the body of a request, which must be an object.
  explicit Fields(const std::string& body);

  bool has(const std::string& name) const { return object_.contains(name); }

  void read(const std::string& name, bool& value);
  void read(const std::string& name, std::string& value);
  void read(const std::string& name, std::vector<std::string>& values);
  /// Reads one string or a list of strings.
  void read_one_or_more(const std::string& name, std::vector<std::string>& values);
  /// Reads a whole number from `least` to `most`.
  void read(const std::string& name, ef::Index& value, ef::Index least, ef::Index most);
  /// Reads a number for which `is_good` holds. expected: describes such numbers.
  void read(const std::string& name, double& value, bool (*is_good)(double), const char* expected);
  void read_seed(const std::string& name, std::uint64_t& value);

  template <ef::NamedEnum Enum>
  void read_enum(const std::string& name, Enum& value) {
    const ef::Json* const given = find(name);
    if (given == nullptr) return;
    std::string expected;
    for (const Enum each : ef::values_of<Enum>()) {
      if (*given == std::string(ef::to_string(each))) {
        value = each;
        return;
      }
      expected += (expected.empty() ? "\"" : ", \"") + std::string(ef::to_string(each)) + '"';
    }
    refuse(name, *given, "one of " + expected);
  }

  /// Throws if the object has a member that nobody has read or asked for.
  void check_all_known() const;

  /// Returns the object, for comparisons.
  const ef::Json& object() const { return object_; }

  /// Throws: "name: is given, expected ...".
  [[noreturn]] static void refuse(const std::string& name, const ef::Json& given, const std::string& expected);

 private:
  /// Returns the member, or null if it is absent. Remembers its name as known.
  const ef::Json* find(const std::string& name);

  ef::Json object_;
  std::set<std::string> known_;
};

}  // namespace translate
