#include "eigenformer/core/files.hpp"

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/contains.hpp"
#include "support/message_of.hpp"
#include "support/sanitizers.hpp"
#include "support/temporary_folder.hpp"

#if defined(__unix__) || defined(__APPLE__)
#include <fcntl.h>
#include <grp.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#if defined(__linux__)
#include <sys/sysmacros.h>
#endif

#include <csignal>
#endif

namespace ef = eigenformer;
using ef::testing::contains;
using ef::testing::message_of;
namespace fs = std::filesystem;
using ef::testing::names_in;
using ef::testing::TemporaryFolder;
using Names = std::vector<std::string>;

TEST_CASE("a written file is read back byte for byte", "[core]") {
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

TEST_CASE("a file is written of pieces in turn", "[core]") {
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

TEST_CASE("a file's name may be any text", "[core]") {
  const TemporaryFolder folder;
  const fs::path path = folder / fs::path(u8"\u6a21\u578b \u00e9.bin");
  ef::write_file(path, "text");
  CHECK(ef::read_file(path) == "text");
  CHECK(contains(message_of([&] { ef::read_file(path / "x"); }), "\xE6\xA8\xA1\xE5\x9E\x8B \xC3\xA9.bin"));
}

TEST_CASE("what cannot be read names the path and the reason", "[core]") {
  const TemporaryFolder folder;
  REQUIRE_THROWS_AS(ef::read_file(folder / "missing"), ef::Error);
  const std::string missing = message_of([&] { ef::read_file(folder / "missing"); });
  CHECK(contains(missing, "read_file: " + ef::path_text(folder / "missing")));
  CHECK(contains(missing, "there is no such file"));
#if !defined(_WIN32) && !UNDER_SANITIZER  // sanitizers end a program that asks for too much memory
  // A file with holes may be larger than any memory, where the file system allows it.
  std::ofstream(folder / "holes").close();
  std::error_code too_large;
  fs::resize_file(folder / "holes", std::uintmax_t{1} << 48, too_large);
  if (!too_large)
    CHECK(contains(message_of([&] { ef::read_file(folder / "holes"); }), "holes: has 281474976710656 bytes, "));
  fs::remove(folder / "holes");
#endif
  CHECK(contains(message_of([&] { ef::read_file(folder.path()); }), "it is a folder"));
  CHECK(contains(message_of([&] { ef::read_file(fs::path()); }), "there is no such file"));
#if defined(__linux__)
  CHECK(contains(message_of([&] { ef::read_file("/dev/null"); }), "not a regular file"));
#endif
}

#if defined(__linux__)
TEST_CASE("a file of the system is read to its end, although its size is 0", "[core]") {
  const std::string status = ef::read_file("/proc/self/status");
  CHECK(contains(status, "Name:"));
  CHECK(status.back() == '\n');
  const std::string mtu = "/sys/class/net/lo/mtu";  // shorter than its size
  if (fs::exists(mtu)) CHECK(contains(ef::read_file(mtu), "\n"));
}
#endif

TEST_CASE("what cannot be written names the path and the reason, and leaves nothing behind", "[core]") {
  const TemporaryFolder folder;
  REQUIRE_THROWS_AS(ef::write_file(folder / "no" / "file", "text"), ef::Error);
  const std::string missing = message_of([&] { ef::write_file(folder / "no" / "file", "text"); });
  CHECK(contains(missing, "write_file: " + ef::path_text(folder / "no" / "file")));
  CHECK(contains(missing, "no such file or folder"));

  CHECK(contains(message_of([&] { ef::write_file(fs::path(), "text"); }), "path is empty"));
  fs::create_directory(folder / "folder");
  CHECK(contains(message_of([&] { ef::write_file(folder / "folder", "text"); }), "it is a folder"));
  ef::write_file(folder / "file", "text");
  CHECK_THROWS_AS(ef::write_file(folder / "file" / "x", "text"), ef::Error);
  CHECK(names_in(folder.path()) == Names{"file", "folder"});
}

#if defined(__unix__) || defined(__APPLE__)
TEST_CASE("when the disk takes no more, the old file stays and the temporary goes", "[core]") {
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

TEST_CASE("a folder without the right to write, a file without the right to read", "[core]") {
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

namespace {

fs::perms mode_of(const fs::path& path) {
  return fs::status(path).permissions();
}

}  // namespace

TEST_CASE("a file that is replaced keeps its mode, and no one else may read it on the way", "[core]") {
  const TemporaryFolder folder;
  ef::write_file(folder / "file", "old");
  for (const fs::perms mode : {fs::perms(0600), fs::perms(0640), fs::perms(0755)}) {
    fs::permissions(folder / "file", mode);
    ef::write_file(folder / "file", "new");
    CHECK(mode_of(folder / "file") == mode);
  }
}

TEST_CASE("a file that is replaced keeps its owner", "[core]") {
  if (geteuid() != 0) {
    WARN("skipped: only the superuser may give files to others");
    return;
  }
  const TemporaryFolder folder;
  ef::write_file(folder / "file", "old");
  REQUIRE(chown((folder / "file").c_str(), 12, 34) == 0);
  ef::write_file(folder / "file", "new");
  struct stat status {};
  REQUIRE(stat((folder / "file").c_str(), &status) == 0);
  CHECK(status.st_uid == 12);
  CHECK(status.st_gid == 34);
}

TEST_CASE("a file that is replaced by someone else gives no rights to a group that had none", "[core]") {
  if (geteuid() != 0) {
    WARN("skipped: only the superuser may become others");
    return;
  }
  const TemporaryFolder folder;
  fs::permissions(folder.path(), fs::perms::all);
  ef::write_file(folder / "file", "old");
  REQUIRE(chown((folder / "file").c_str(), 12, 34) == 0);
  REQUIRE(chmod((folder / "file").c_str(), 06756) == 0);
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {  // as user 56 of group 78, without other groups
    bool written = setgroups(0, nullptr) == 0 && setgid(78) == 0 && setuid(56) == 0;
    try {
      ef::write_file(folder / "file", "new");
    } catch (const std::exception&) {
      written = false;
    }
    _exit(written ? 0 : 1);
  }
  int result = 1;
  REQUIRE(waitpid(child, &result, 0) == child);
  REQUIRE(result == 0);
  CHECK(ef::read_file(folder / "file") == "new");
  CHECK(mode_of(folder / "file") == fs::perms(0746));
}

TEST_CASE("a symbolic link stays, and what it leads to is written", "[core]") {
  const TemporaryFolder folder;
  fs::create_directory(folder / "other");
  ef::write_file(folder / "other" / "file", "old");
  fs::create_symlink("other/file", folder / "relative");
  fs::create_symlink(folder / "relative", folder / "link of a link");
  ef::write_file(folder / "link of a link", "new");
  CHECK(fs::is_symlink(folder / "link of a link"));
  CHECK(fs::is_symlink(folder / "relative"));
  CHECK(ef::read_file(folder / "other" / "file") == "new");
  CHECK(names_in(folder / "other") == Names{"file"});

  fs::create_symlink("other/not yet", folder / "dangling");
  ef::write_file(folder / "dangling", "made");
  CHECK(fs::is_symlink(folder / "dangling"));
  CHECK(ef::read_file(folder / "other" / "not yet") == "made");

  fs::create_symlink("circle", folder / "circle");
  CHECK(contains(message_of([&] { ef::write_file(folder / "circle", "x"); }), "too many symbolic links"));
  fs::create_symlink("other", folder / "folder");
  CHECK(contains(message_of([&] { ef::write_file(folder / "folder", "x"); }), "it is a folder"));
}

TEST_CASE("a pipe is written to as it stands, through a link too", "[core]") {
  const TemporaryFolder folder;
  const fs::path pipe = folder / "pipe";
  REQUIRE(mkfifo(pipe.c_str(), 0600) == 0);
  fs::create_symlink("pipe", folder / "link");
  const int reader = open(pipe.c_str(), O_RDONLY | O_NONBLOCK);
  REQUIRE(reader >= 0);
  for (const char* name : {"pipe", "link"}) {
    ef::check_writable(folder / name);
    ef::write_file(folder / name, "through");
    std::array<char, 16> bytes{};
    CHECK(read(reader, bytes.data(), bytes.size()) == 7);
    CHECK(std::string(bytes.data()) == "through");
  }
  close(reader);
  CHECK(fs::is_fifo(pipe));
  CHECK(names_in(folder.path()) == Names{"link", "pipe"});
}

// Devices of the test's own: a fault would replace the machine's.
TEST_CASE("a device is written to and stays a device", "[core]") {
  const TemporaryFolder folder;
  const fs::path null = folder / "null", full = folder / "full";
  const auto made = [](const fs::path& path, unsigned minor_number) {
    return mknod(path.c_str(), S_IFCHR | 0666, makedev(1, minor_number)) == 0 && access(path.c_str(), W_OK) == 0;
  };
  const bool is_linux = fs::exists("/proc/self/fd");  // whose numbers these are
  if (!is_linux || !made(null, 3) || !made(full, 7)) {
    WARN("skipped: devices cannot be made here");
    return;
  }
  const int opened = open(null.c_str(), O_WRONLY);
  if (opened < 0) {
    WARN("skipped: devices cannot be opened here");
    return;
  }
  close(opened);
  ef::check_writable(null);
  ef::write_file(null, "gone");
  CHECK(contains(message_of([&] { ef::write_file(full, "x"); }), "full: the disk is full"));
  CHECK(fs::is_character_file(null));
  CHECK(fs::is_character_file(full));
  CHECK(names_in(folder.path()) == Names{"full", "null"});
}

TEST_CASE("an open descriptor is written to from where it stands", "[core]") {
  if (!fs::exists("/dev/fd")) {
    WARN("skipped: there is no /dev/fd");
    return;
  }
  const TemporaryFolder folder;
  const int file = open((folder / "file").c_str(), O_WRONLY | O_CREAT, 0600);
  REQUIRE(file >= 0);
  REQUIRE(write(file, "before ", 7) == 7);
  const std::string name = "/dev/fd/" + std::to_string(file);
  fs::create_symlink(name, folder / "link");
  ef::check_writable(name);
  ef::write_file(name, "between ");
  ef::write_file(folder / "link", "and ");
  REQUIRE(write(file, "after", 5) == 5);
  close(file);
  CHECK(ef::read_file(folder / "file") == "before between and after");
  CHECK(names_in(folder.path()) == Names{"file", "link"});
  CHECK(contains(message_of([&] { ef::write_file(name, "x"); }), "it is closed"));
  CHECK(contains(message_of([&] { ef::check_writable(name); }), "it is closed"));
}

TEST_CASE("a path that names a descriptor is known, also through links", "[core]") {
  const ef::testing::TemporaryFolder folder;
  fs::create_symlink("/dev/stdout", folder / "stdout");
  fs::create_symlink("stdout", folder / "again");
  fs::create_symlink("missing", folder / "broken");
  for (const fs::path& path : {fs::path("/dev/stdout"), fs::path("/dev/fd/3"), folder / "stdout", folder / "again"})
    CHECK(ef::names_descriptor(path));
  for (const fs::path& path : {fs::path("/dev/null"), fs::path("/dev/shm/file"), fs::path("stdout"), folder / "broken"})
    CHECK(!ef::names_descriptor(path));
}
#endif

TEST_CASE("what write_file would refuse is known before, and nothing is changed", "[core]") {
  const TemporaryFolder folder;
  ef::write_file(folder / "file", "old");
  ef::check_writable(folder / "file");
  ef::check_writable(folder / "new");
  CHECK(contains(message_of([&] { ef::check_writable(folder / "no" / "file"); }), "no such file or folder"));
  CHECK(contains(message_of([&] { ef::check_writable(folder.path()); }), "it is a folder"));
  CHECK(contains(message_of([&] { ef::check_writable(folder / "file" / "x"); }), "not a folder"));
  CHECK(ef::read_file(folder / "file") == "old");
  CHECK(names_in(folder.path()) == Names{"file"});
}

TEST_CASE("a file is on the disk before it gets its name, and then its name", "[core]") {
  struct Recorder : ef::detail::Disk {
    std::string calls;
    std::error_code sync(int descriptor, const fs::path& path) override {
      calls += fs::is_directory(path) ? "sync folder, " : "sync file of " + std::to_string(fs::file_size(path)) + ", ";
      return Disk::sync(descriptor, path);
    }
    std::error_code rename(const fs::path& from, const fs::path& to) override {
      calls += "rename to " + to.filename().string() + ", ";
      return Disk::rename(from, to);
    }
  };
  const TemporaryFolder folder;
  const std::string text(10'000, 'x');
  const std::span<const std::byte> piece = std::as_bytes(std::span(text));
  Recorder disk;
  ef::detail::write_file(folder / "file", std::span(&piece, 1), disk);
  CHECK(disk.calls == "sync file of 10000, rename to file, sync folder, ");
}

TEST_CASE("a file is opened for reading, or the reason is given", "[core]") {
  const TemporaryFolder folder;
  ef::write_file(folder / "file", "text");
  std::ifstream stream = ef::open_for_reading(folder / "file");
  std::string word;
  CHECK(stream >> word);
  CHECK(word == "text");
  ef::check_read(stream, "file");
  stream.setstate(std::ios::badbit);
  CHECK(message_of([&] { ef::check_read(stream, "file"); }) == "file: cannot be read to its end");
  const std::string name = ef::path_text(folder.path());
  CHECK(message_of([&] { ef::open_for_reading(folder.path()); }) == name + ": cannot be opened: it is a folder");
  CHECK(
      contains(message_of([&] { ef::open_for_reading(folder / "x"); }), "x: cannot be opened: there is no such file"));
}
