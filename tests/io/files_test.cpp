#include "eigenformer/io/files.hpp"

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/contains.hpp"
#include "support/message_of.hpp"
#include "support/temporary_folder.hpp"

#if defined(__unix__) || defined(__APPLE__)
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#endif

namespace ef = eigenformer;
using ef::testing::contains;
using ef::testing::message_of;
namespace fs = std::filesystem;
using ef::testing::names_in;
using ef::testing::TemporaryFolder;
using Names = std::vector<std::string>;

TEST_CASE("a written file is read back byte for byte", "[io]") {
  const TemporaryFolder folder;
  std::string every_byte;
  for (int i = 0; i < 256; ++i) every_byte += static_cast<char>(i);
  const std::string long_text(1'000'003, 'x');
  for (const std::string& bytes : {std::string(), std::string("one\r\ntwo\n\x1A three"), every_byte, long_text}) {
    CAPTURE(bytes.size());
    ef::write_file(folder / "file", bytes);
    CHECK(ef::read_file(folder / "file") == bytes);
    CHECK(names_in(folder.path()) == Names{"file"});  // no temporary is left
  }
}

TEST_CASE("a file is written of pieces in turn", "[io]") {
  const TemporaryFolder folder;
  const std::array<char, 3> a{'a', 'b', 'c'};
  const std::vector<char> b(100'000, 'd');
  const std::array<std::span<const std::byte>, 4> pieces{std::as_bytes(std::span(a)), std::span<const std::byte>(),
                                                         std::as_bytes(std::span(b)), std::as_bytes(std::span(a))};
  ef::write_file(folder / "file", pieces);
  // Appended, not added: GCC 12 warns of std::string's own operator+ here.
  const std::string expected = std::string("abc").append(100'000, 'd').append("abc");
  CHECK(ef::read_file(folder / "file") == expected);
}

TEST_CASE("a file's name may be any text", "[io]") {
  const TemporaryFolder folder;
  const fs::path path = folder / fs::path(u8"\u6a21\u578b \u00e9.bin");
  ef::write_file(path, "text");
  CHECK(ef::read_file(path) == "text");
  CHECK(contains(message_of([&] { ef::read_file(path / "x"); }), "\xE6\xA8\xA1\xE5\x9E\x8B \xC3\xA9.bin"));
}

TEST_CASE("what cannot be read names the path and the reason", "[io]") {
  const TemporaryFolder folder;
  REQUIRE_THROWS_AS(ef::read_file(folder / "missing"), ef::Error);
  const std::string missing = message_of([&] { ef::read_file(folder / "missing"); });
  CHECK(contains(missing, "read_file: " + ef::path_text(folder / "missing")));
  CHECK(contains(missing, "there is no such file"));
  CHECK(contains(message_of([&] { ef::read_file(folder.path()); }), "it is a folder"));
  CHECK(contains(message_of([&] { ef::read_file(fs::path()); }), "there is no such file"));
#if defined(__linux__)
  CHECK(contains(message_of([&] { ef::read_file("/dev/null"); }), "not a regular file"));
#endif
}

TEST_CASE("what cannot be written names the path and the reason, and leaves nothing behind", "[io]") {
  const TemporaryFolder folder;
  REQUIRE_THROWS_AS(ef::write_file(folder / "no" / "file", "text"), ef::Error);
  const std::string missing = message_of([&] { ef::write_file(folder / "no" / "file", "text"); });
  CHECK(contains(missing, "write_file: " + ef::path_text(folder / "no" / "file")));
  CHECK(contains(missing, "no such file or folder"));

  fs::create_directory(folder / "folder");
  CHECK(contains(message_of([&] { ef::write_file(folder / "folder", "text"); }), "it is a folder"));
  ef::write_file(folder / "file", "text");
  CHECK_THROWS_AS(ef::write_file(folder / "file" / "x", "text"), ef::Error);
  CHECK(names_in(folder.path()) == Names{"file", "folder"});
}

#if defined(__unix__) || defined(__APPLE__)
TEST_CASE("when the disk takes no more, the old file stays and the temporary goes", "[io]") {
  const TemporaryFolder folder;
  ef::write_file(folder / "file", "old");

  // A limit on the size of files stands in for a full disk: the system refuses the bytes in the same place.
  rlimit before{};
  REQUIRE(getrlimit(RLIMIT_FSIZE, &before) == 0);
  rlimit limit = before;
  limit.rlim_cur = 10'000;
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  REQUIRE(setrlimit(RLIMIT_FSIZE, &limit) == 0);
  // Refused in the middle of a large piece, and only when the last buffer is written.
  const std::string in_the_middle = message_of([&] { ef::write_file(folder / "file", std::string(100'000, 'x')); });
  const std::string many(101, 'x');
  const std::vector<std::span<const std::byte>> pieces(100, std::as_bytes(std::span<const char>(many)));
  const std::string in_the_end = message_of([&] { ef::write_file(folder / "file", pieces); });
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);

  CHECK(contains(in_the_middle, "write_file: " + ef::path_text(folder / "file")));
  CHECK(contains(in_the_middle, "too large"));
  CHECK(contains(in_the_end, "too large"));
  CHECK(ef::read_file(folder / "file") == "old");
  CHECK(names_in(folder.path()) == Names{"file"});
}

TEST_CASE("a folder without the right to write, a file without the right to read", "[io]") {
  if (geteuid() == 0) {
    WARN("skipped: the superuser may read and write everything");
    return;
  }
  const TemporaryFolder folder;
  fs::create_directory(folder / "locked");
  ef::write_file(folder / "locked" / "file", "old");
  fs::permissions(folder / "locked" / "file", fs::perms::none);
  fs::permissions(folder / "locked", fs::perms::owner_read | fs::perms::owner_exec);
  const std::string reading = message_of([&] { ef::read_file(folder / "locked" / "file"); });
  const std::string writing = message_of([&] { ef::write_file(folder / "locked" / "new", "new"); });
  fs::permissions(folder / "locked", fs::perms::owner_all);
  CHECK(contains(reading, "not permitted"));
  CHECK(contains(writing, "not permitted"));
}
#endif

TEST_CASE("a folder is written whole or not at all", "[io]") {
  const TemporaryFolder parent;
  const fs::path model = parent / "model";
  const auto write = [](const std::string& text) {
    return [text](const fs::path& folder) {
      ef::write_file(folder / "a", text + " a");
      ef::write_file(folder / "b", text + " b");
    };
  };
  ef::write_folder(model, write("first"));
  CHECK(names_in(model) == Names{"a", "b"});
  CHECK(ef::read_file(model / "a") == "first a");

  SECTION("it is replaced") {
    ef::write_folder(model / "", write("second"));  // "model/"
    CHECK(ef::read_file(model / "a") == "second a");
    CHECK(ef::read_file(model / "b") == "second b");
    CHECK(names_in(parent.path()) == Names{"model"});
  }
  SECTION("other files are kept") {
    ef::write_file(model / "notes", "mine");
    fs::create_directory(model / "more");
    ef::write_file(model / "more" / "notes", "mine too");
    ef::write_folder(model, write("second"));
    CHECK(names_in(model) == Names{"a", "b", "more", "notes"});
    CHECK(ef::read_file(model / "b") == "second b");
    CHECK(ef::read_file(model / "notes") == "mine");
    CHECK(ef::read_file(model / "more" / "notes") == "mine too");
    CHECK(names_in(parent.path()) == Names{"model"});
  }
  SECTION("a failure between two files changes nothing") {
    const auto half = [](const fs::path& folder) {
      ef::write_file(folder / "a", "half");
      ef::fail("out of luck");
    };
    CHECK(message_of([&] { ef::write_folder(model, half); }) == "out of luck");
    CHECK(ef::read_file(model / "a") == "first a");
    CHECK(names_in(parent.path()) == Names{"model"});
    CHECK(message_of([&] { ef::write_folder(parent / "new", half); }) == "out of luck");
    CHECK(names_in(parent.path()) == Names{"model"});
  }
  SECTION("a program killed between the two renames leaves the old folder as the backup") {
    fs::rename(model, ef::folder_backup(model));
    CHECK_THROWS_WITH(ef::write_folder(model, [](const fs::path&) { ef::fail("again"); }), "again");
    CHECK(ef::read_file(model / "a") == "first a");
    fs::rename(model, ef::folder_backup(model / ""));
    ef::write_folder(model, write("second"));
    CHECK(ef::read_file(model / "a") == "second a");
    CHECK(names_in(parent.path()) == Names{"model"});
  }
  SECTION("a program killed while removing the backup leaves it to the next") {
    fs::create_directory(ef::folder_backup(model));
    ef::write_file(ef::folder_backup(model) / "a", "stale");
    ef::write_folder(model, write("second"));
    CHECK(ef::read_file(model / "a") == "second a");
    CHECK(names_in(parent.path()) == Names{"model"});
  }
  SECTION("what is in the way is not touched") {
    ef::write_file(parent / "file", "text");
    CHECK(contains(message_of([&] { ef::write_folder(parent / "file", write("x")); }), "it is a file"));
    CHECK(ef::read_file(parent / "file") == "text");
    CHECK(
        contains(message_of([&] { ef::write_folder(parent / "no" / "model", write("x")); }), "no such file or folder"));
    for (const char* path : {"", ".", "..", "/", "model/.."})
      CHECK(contains(message_of([&] { ef::write_folder(path, write("x")); }), "does not end in a folder's name"));
    CHECK(names_in(parent.path()) == Names{"file", "model"});
  }
}
