#include "eigenformer/core/fnv1a.hpp"

#include <string_view>

#include "support/catch.hpp"

namespace ef = eigenformer;

namespace {

std::uint64_t fnv1a(std::string_view text) {
  ef::Fnv1a hash;
  hash.add_numbers(std::span<const char>(text.data(), text.size()));
  return hash.value();
}

}  // namespace

TEST_CASE("FNV-1a has the published values", "[core]") {
  CHECK(fnv1a("") == 0xcbf29ce484222325);
  CHECK(fnv1a("a") == 0xaf63dc4c8601ec8c);
  CHECK(fnv1a("foobar") == 0x85944171f73967e8);
}
