#include "eigenformer/core/detail/descriptor.hpp"

#include <fstream>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/temporary_folder.hpp"

namespace ef = eigenformer;
using namespace ef::testing;
using ef::detail::Opening;

TEST_CASE("a new file is not opened over an existing one", "[core]") {
  const TemporaryFolder folder;
  const auto path = folder / "file";
  REQUIRE(ef::detail::open_descriptor(path, Opening::new_file).is_open());
  REQUIRE_FALSE(ef::detail::open_descriptor(path, Opening::new_file).is_open());
  REQUIRE(errno == EEXIST);
  REQUIRE_FALSE(ef::detail::open_descriptor(folder / "none", Opening::write_only).is_open());
}

TEST_CASE("a descriptor is closed once, by its last owner", "[core]") {
  const TemporaryFolder folder;
  ef::detail::Descriptor first = ef::detail::open_descriptor(folder / "file", Opening::new_file);
  REQUIRE(first.is_open());
  ef::detail::Descriptor second = std::move(first);
  REQUIRE_FALSE(first.is_open());  // NOLINT(bugprone-use-after-move)
  REQUIRE_FALSE(second.close());
  REQUIRE_FALSE(second.is_open());
  REQUIRE_FALSE(second.close());
}

TEST_CASE("write_all writes all bytes", "[core]") {
  const TemporaryFolder folder;
  std::vector<std::byte> bytes(100'003);
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(i % 251);
  ef::detail::Descriptor file = ef::detail::open_descriptor(folder / "file", Opening::new_file);
  REQUIRE_FALSE(ef::detail::write_all(file.number(), bytes));
  REQUIRE_FALSE(file.close());
  std::ifstream in(folder / "file", std::ios::binary);
  const std::string read{std::istreambuf_iterator<char>(in), {}};
  REQUIRE(read.size() == bytes.size());
  for (std::size_t i = 0; i < bytes.size(); ++i)
    if (static_cast<std::byte>(read[i]) != bytes[i]) FAIL("byte " << i);
}

#if !defined(_WIN32)
TEST_CASE("paths of descriptors are known, others are not", "[core]") {
  using ef::detail::named_descriptor;
  CHECK(named_descriptor("/dev/stdin") == 0);
  CHECK(named_descriptor("/dev/stdout") == 1);
  CHECK(named_descriptor("/dev/stderr") == 2);
  CHECK(named_descriptor("/dev/fd/17") == 17);
  CHECK(named_descriptor("/proc/self/fd/3") == 3);
  for (const char* path : {"", "stdout", "/dev/stdout/x", "/dev/fd/", "/dev/fd/x", "/dev/fd/-1", "/dev/fd/1234567"}) {
    CAPTURE(path);
    CHECK(named_descriptor(path) == -1);
  }
}
#endif
