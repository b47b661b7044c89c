#include "eigenformer/core/detail/bit_cast.hpp"

#include <cstdint>

#include "support/catch.hpp"

namespace detail = eigenformer::detail;

static_assert(detail::bit_cast<std::uint32_t>(1.0F) == 0x3F800000);

TEST_CASE("bit_cast keeps all bits, those of a NaN included", "[core]") {
  for (const std::uint64_t bits : {0x0000000000000001ULL, 0x8000000000000000ULL, 0x7FF8000000000123ULL}) {
    CAPTURE(bits);
    CHECK(detail::bit_cast<std::uint64_t>(detail::bit_cast<double>(bits)) == bits);
  }
}
