#include "eigenformer/core/standard_streams.hpp"

#include <filesystem>
#include <string>

#include "support/catch.hpp"
#include "support/message_of.hpp"

namespace ef = eigenformer;
using ef::testing::message_of;

#if defined(__unix__) || defined(__APPLE__)
namespace {

/// Opens `path` in place of a standard stream until the end of the scope; no path: closes it.
class InPlaceOf {
 public:
  InPlaceOf(int number, const char* path, int flags) : number_(number), kept_(::dup(number)) {
    std::fflush(stdout);
    ::close(number);
    if (path != nullptr) opened_ = ::open(path, flags);
  }
  InPlaceOf(const InPlaceOf&) = delete;
  InPlaceOf& operator=(const InPlaceOf&) = delete;
  ~InPlaceOf() {
    ::dup2(kept_, number_);
    ::close(kept_);
    std::clearerr(stdin);
    std::clearerr(stdout);
    std::cin.clear();
    std::cout.clear();
  }
  bool is_open() const { return opened_ == number_; }

 private:
  int number_, kept_, opened_ = -1;
};

}  // namespace

TEST_CASE("what standard output refuses is an error", "[core]") {
  ef::flush_standard_output();
  if (!std::filesystem::is_character_file("/dev/full")) {
    WARN("skipped: there is no /dev/full");
    return;
  }
  std::string at_once, later, by_printf;
  {
    const InPlaceOf full(1, "/dev/full", O_WRONLY);
    REQUIRE(full.is_open());
    std::cout << "lost";
    at_once = message_of([] { ef::flush_standard_output(); });
    later = message_of([] { ef::flush_standard_output(); });
  }
  {
    const InPlaceOf full(1, "/dev/full", O_WRONLY);
    std::printf("lost");
    by_printf = message_of([] { ef::flush_standard_output(); });
  }
  CHECK(at_once == "standard output: cannot be written: the disk is full");
  CHECK(later.rfind("standard output: cannot be written", 0) == 0);
  CHECK(by_printf == at_once);
  ef::flush_standard_output();
}

TEST_CASE("a closed standard output is not the next file that is opened", "[core]") {
  std::string message;
  int next = -1;
  {
    const InPlaceOf closed(1, nullptr, 0);
    ef::occupy_closed_streams();
    next = ::dup(2);
    std::printf("lost");
    message = message_of([] { ef::flush_standard_output(); });
  }
  CHECK(next > 2);
  ::close(next);
  CHECK(message == "standard output: cannot be written: it is closed");
}

TEST_CASE("standard input that cannot be read is an error, one at its end is not", "[core]") {
  const auto message_for = [](const char* path, int flags) {
    const InPlaceOf input(0, path, flags);
    ef::occupy_closed_streams();
    std::string line;
    while (std::getline(std::cin, line)) continue;
    return message_of([] { ef::check_standard_input(); });
  };
  CHECK(message_for("/dev/null", O_RDONLY) == "nothing was thrown");
  CHECK(message_for("/", O_RDONLY) == "standard input: cannot be read: it is a folder");
  CHECK(message_for(nullptr, 0) == "standard input: cannot be read: it is closed");
}
#endif
