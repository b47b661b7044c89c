// Checks which hosts requests to `serve` name, to keep pages of other sites away from the server.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <vector>

namespace translate {

/// Checks the Host and Origin headers of requests. Another site can point its own host name at 127.0.0.1 (DNS
/// rebinding). To a browser, this server is then part of that site, and the site's pages may read its answers. But the
/// browser still sends the site's name in Host.
///
/// Always allowed are localhost, 127.0.0.1, [::1], the address of --host and the names of --allow-host. A server that
/// other machines can reach also allows every IP address, because only names can be rebound. Without --allow-host it
/// allows every name too, because it cannot know what other machines call it.
class AllowedHosts {
 public:
  /// host: the value of --host. address: where the server listens. names: the values of --allow-host.
  AllowedHosts(const std::string& host, const std::string& address, const std::vector<std::string>& names);

  /// Returns why a request is refused, or nothing if it is allowed. host: the value of its Host header. origin: the
  /// value of its Origin header, if it has one. The origin must name the same host as the request, or one that is
  /// always allowed.
  std::optional<std::string> refusal(const std::string& host, const std::optional<std::string>& origin) const;

 private:
  bool allows(const std::string& name) const;

  std::set<std::string> names_;  // in lower case; IPv6 addresses in brackets
  bool allows_addresses_, allows_all_;
};

/// Returns a name of --allow-host as headers spell it: in lower case, IPv6 addresses in brackets. Returns an empty text
/// if it is neither a name nor an address, for example because it has a scheme or a port.
std::string host_name(const std::string& given);

}  // namespace translate
