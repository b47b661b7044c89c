#include "translate/serve_hosts.hpp"

#include "support/catch.hpp"

namespace {

using translate::AllowedHosts;

bool allows(const AllowedHosts& hosts, const std::string& host, const std::optional<std::string>& origin = {}) {
  return !hosts.refusal(host, origin).has_value();
}

}  // namespace

TEST_CASE("a server of this machine answers requests that name this machine", "[examples]") {
  const AllowedHosts hosts("127.0.0.2", "127.0.0.2", {"my.laptop", "FE80::7"});
  for (const char* host :
       {"localhost", "127.0.0.1", "[::1]", "127.0.0.2", "my.laptop", "[fe80::7]", "LocalHost", "localhost."}) {
    INFO(host);
    CHECK(allows(hosts, host));
    CHECK(allows(hosts, host + std::string(":8080")));
    CHECK(allows(hosts, host + std::string(":")));
    CHECK(allows(hosts, host + std::string(":1"), "http://localhost:8080"));
    CHECK(allows(hosts, "localhost", "https://" + std::string(host)));
  }
  for (const char* host :
       {"", "evil.example", "evil.example:8080", "localhost.evil.example", "localhost@evil.example", "127.0.0.1.nip.io",
        "xlocalhost", "0.0.0.0", "192.168.1.5", "127.0.0.1:80:80", "::1", "[::1", "[::1]x", "[::2]", "localhost:x",
        "localhost, evil.example", " localhost", "http://localhost"}) {
    INFO(host);
    CHECK_FALSE(allows(hosts, host));
    CHECK_FALSE(allows(hosts, "localhost", "http://" + std::string(host)));
  }
  for (const char* origin : {"", "null", "localhost", "://", "http://localhost/x", "http://localhost@evil.example"}) {
    INFO(origin);
    CHECK_FALSE(allows(hosts, "localhost", origin));
  }
  CHECK(hosts.refusal("evil.example:80", {}) ==
        "Host: is \"evil.example:80\", expected one of 127.0.0.1, 127.0.0.2, [::1], [fe80::7], localhost, my.laptop; "
        "--allow-host adds names");
  CHECK(hosts.refusal("localhost:80", "http://evil.example") ==
        "Origin: is \"http://evil.example\", expected a page of localhost; --allow-host adds names");
}

TEST_CASE("a name of --host that means this machine is allowed", "[examples]") {
  const AllowedHosts hosts("my-host", "127.0.1.1", {});
  CHECK(allows(hosts, "my-host:8080", "http://my-host:8080"));
  CHECK(allows(hosts, "127.0.1.1"));
  CHECK_FALSE(allows(hosts, "evil.example"));
  CHECK_FALSE(allows(AllowedHosts("::1", "::1", {}), "evil.example"));
  CHECK_FALSE(allows(AllowedHosts("localhost", "", {}), "evil.example"));  // the address is unknown
  CHECK(allows(AllowedHosts("127.0.0.1", "127.0.0.1", {"my.laptop."}), "my.laptop"));
  CHECK_FALSE(allows(AllowedHosts("::ffff:127.0.0.1", "::ffff:127.0.0.1", {}), "evil.example"));
}

TEST_CASE("a server that others can reach answers to any address, and to any name unless names are given",
          "[examples]") {
  for (const bool has_names : {false, true}) {
    INFO(has_names);
    const AllowedHosts hosts("0.0.0.0", "0.0.0.0",
                             has_names ? std::vector<std::string>{"server.example"} : std::vector<std::string>{});
    for (const char* host : {"localhost:8080", "192.168.1.5:8080", "[fe80::1]", "server.example"}) {
      INFO(host);
      CHECK(allows(hosts, host));
      CHECK(allows(hosts, host, "http://" + std::string(host)));
      CHECK_FALSE(allows(hosts, host, "http://evil.example"));
    }
    CHECK(allows(hosts, "other.example") == !has_names);
    CHECK(allows(hosts, "other.example", "http://other.example") == !has_names);
    CHECK_FALSE(allows(hosts, ""));
    CHECK_FALSE(allows(hosts, "192.168.1.5", "http://192.168.1.6"));
    CHECK(allows(hosts, "192.168.1.5", "https://localhost"));
  }
}

TEST_CASE("names of hosts have neither scheme nor port", "[examples]") {
  CHECK(translate::host_name("My.Host") == "my.host");
  CHECK(translate::host_name("10.0.0.1") == "10.0.0.1");
  CHECK(translate::host_name("FE80::7") == "[fe80::7]");
  CHECK(translate::host_name("[fe80::7]") == "[fe80::7]");
  for (const char* wrong : {"", "host:80", "http://host", "host/", "a b", "[x]", "*"}) {
    INFO(wrong);
    CHECK(translate::host_name(wrong).empty());
  }
}
