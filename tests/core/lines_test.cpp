#include "eigenformer/core/lines.hpp"

#include <fstream>
#include <sstream>
#include <streambuf>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/message_of.hpp"
#include "support/temporary_folder.hpp"

namespace ef = eigenformer;
using ef::testing::message_of;
using Strings = std::vector<std::string>;

namespace {

const std::string mark = "\xEF\xBB\xBF";

Strings lines_of(const std::string& bytes) {
  std::istringstream stream(bytes);
  ef::LineReader reader(stream, "test");
  Strings lines;
  for (std::string line; reader.next(line);) lines.push_back(line);
  return lines;
}

// Gives some bytes, then fails as a disk does.
class FailingBuffer final : public std::streambuf {
 public:
  explicit FailingBuffer(std::string bytes) : bytes_(std::move(bytes)) {
    setg(bytes_.data(), bytes_.data(), bytes_.data() + bytes_.size());
  }

 private:
  int_type underflow() override { throw std::ios_base::failure("the disk is gone"); }
  std::string bytes_;
};

}  // namespace

TEST_CASE("lines come without their ends, whatever they are", "[core]") {
  CHECK(lines_of("one\ntwo\n") == Strings{"one", "two"});
  CHECK(lines_of("one\ntwo") == Strings{"one", "two"});
  CHECK(lines_of("one\r\ntwo\r\n") == Strings{"one", "two"});
  CHECK(lines_of("one\r\ntwo\r") == Strings{"one", "two"});
  CHECK(lines_of("one\n\n two \n") == Strings{"one", "", " two "});
  CHECK(lines_of("a\rb\r\r\n") == Strings{"a\rb\r"});
  CHECK(lines_of("\n") == Strings{""});
  CHECK(lines_of("\r\n\r\n") == Strings{"", ""});
  CHECK(lines_of("").empty());
  CHECK(lines_of(std::string("a\0b\n", 4)) == Strings{std::string("a\0b", 3)});
}

TEST_CASE("a byte order mark is dropped at the beginning, and nowhere else", "[core]") {
  CHECK(lines_of(mark + "one\n" + mark + "two\n") == Strings{"one", mark + "two"});
  CHECK(lines_of(mark + mark + "one") == Strings{mark + "one"});
  CHECK(lines_of(mark + "\r\none") == Strings{"", "one"});
  CHECK(lines_of(mark).empty());
  CHECK(lines_of("\xEF\xBB") == Strings{"\xEF\xBB"});
}

TEST_CASE("lines are counted from the beginning", "[core]") {
  std::istringstream stream(mark + "\n\r\nthree");
  ef::LineReader reader(stream, "test");
  CHECK(reader.number() == 0);
  std::string line;
  for (ef::Index number = 1; number <= 3; ++number) {
    REQUIRE(reader.next(line));
    CHECK(reader.number() == number);
    CHECK(reader.where() == "test:" + std::to_string(number));
    CHECK(reader.has_end() == (number < 3));
  }
  CHECK_FALSE(reader.next(line));
  CHECK_FALSE(reader.next(line));
  CHECK(reader.number() == 3);
}

TEST_CASE("an input that cannot be read is an error, not an end", "[core]") {
  FailingBuffer buffer("one\ntwo\nthr");
  std::istream stream(&buffer);
  ef::LineReader reader(stream, "test");
  std::string line;
  CHECK(reader.next(line));
  CHECK(reader.next(line));
  CHECK(message_of([&] { reader.next(line); }) == "test:3: cannot be read; expected a text file");

  std::ifstream missing("no such file");
  CHECK(message_of([&] { ef::LineReader(missing, "missing").next(line); }) ==
        "missing:1: cannot be read; expected a text file");
#if defined(__GLIBCXX__)  // other libraries open no folder, or leave the error in the C stream
  const ef::testing::TemporaryFolder folder;
  std::ifstream folder_stream(folder.path());
  CHECK(message_of([&] { ef::LineReader(folder_stream, "folder").next(line); }) ==
        "folder:1: cannot be read; expected a text file");
#endif
}
