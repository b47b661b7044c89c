#include "translate/serve_hosts.hpp"

#include <algorithm>
#include <string_view>

namespace translate {

namespace {

std::string lower_case(std::string text) {
  for (char& c : text)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return text;
}

bool consists_of(std::string_view text, std::string_view characters) {
  return !text.empty() && text.find_first_not_of(characters) == std::string_view::npos;
}

/// Returns whether only this machine can reach an address. An unknown address, which is empty, is taken for such a one,
/// so that the checks are strict.
bool is_loopback(const std::string& address) {
  return address.empty() || address == "::1" || address.starts_with("127.") || address.starts_with("::ffff:127.");
}

/// Returns whether browsers take the text for an IP address, and never ask DNS for it.
bool is_address(std::string_view name) {
  if (name.size() > 2 && name.front() == '[' && name.back() == ']')
    return consists_of(name.substr(1, name.size() - 2), "0123456789abcdef:.");
  return consists_of(name, "0123456789.") && std::count(name.begin(), name.end(), '.') == 3;
}

bool is_name(std::string_view name) {
  return consists_of(name, "0123456789abcdefghijklmnopqrstuvwxyz-._") || is_address(name);
}

/// Returns a name without the dot that may end a full domain name: "localhost" for "localhost.".
std::string without_last_dot(std::string name) {
  if (name.size() > 1 && name.back() == '.') name.pop_back();
  return name;
}

/// Returns the host of "host", "host:" or "host:port" in lower case, or an empty text if it is none of them.
std::string without_port(const std::string& text) {
  std::string name = lower_case(text);
  const std::size_t colon = name.find(':', name.find(']') == std::string::npos ? 0 : name.find(']'));
  if (colon != std::string::npos) {
    if (colon + 1 < name.size() && !consists_of(std::string_view(name).substr(colon + 1), "0123456789")) return "";
    name.resize(colon);
  }
  return is_name(name) ? without_last_dot(name) : "";
}

/// Returns the host of "scheme://host:port", or an empty text if the origin has another form, such as "null".
std::string host_of_origin(const std::string& origin) {
  const std::size_t slashes = origin.find("://");
  return slashes == std::string::npos ? "" : without_port(origin.substr(slashes + 3));
}

}  // namespace

AllowedHosts::AllowedHosts(const std::string& host, const std::string& address, const std::vector<std::string>& names)
    : names_{"localhost", "127.0.0.1", "[::1]", host_name(host), host_name(address)},
      allows_addresses_(!is_loopback(address)),
      allows_all_(allows_addresses_ && names.empty()) {
  for (const std::string& name : names) names_.insert(host_name(name));
  names_.erase("");
}

bool AllowedHosts::allows(const std::string& name) const {
  return names_.contains(name) || (allows_addresses_ && is_address(name)) || (allows_all_ && !name.empty());
}

std::optional<std::string> AllowedHosts::refusal(const std::string& host,
                                                 const std::optional<std::string>& origin) const {
  const std::string name = without_port(host);
  if (!allows(name)) {
    std::string expected;
    for (const std::string& each : names_) expected += (expected.empty() ? "" : ", ") + each;
    return "Host: is \"" + host + "\", expected one of " + expected + (allows_addresses_ ? " or any IP address" : "") +
           "; --allow-host adds names";
  }
  if (!origin.has_value()) return std::nullopt;
  const std::string origin_name = host_of_origin(*origin);
  if (origin_name == name || names_.contains(origin_name)) return std::nullopt;
  return "Origin: is \"" + *origin + "\", expected a page of " + name + "; --allow-host adds names";
}

std::string host_name(const std::string& given) {
  std::string name = lower_case(given);
  if (std::count(name.begin(), name.end(), ':') > 1 && name.front() != '[') name = '[' + name + ']';
  return is_name(name) ? without_last_dot(name) : "";
}

}  // namespace translate
