#include "translate/arrived_input.hpp"

#include <istream>
#include <string>
#include <utility>
#include <vector>

#include "support/catch.hpp"

using translate::ArrivedInput;

namespace {

/// A pipe into which the parts of a text arrive one by one: each when the reader would wait.
class Pipe : public std::streambuf {
 public:
  explicit Pipe(std::vector<std::string> parts) : parts_(std::move(parts)) {}

 protected:
  int_type underflow() override {
    if (next_ == parts_.size()) return traits_type::eof();
    std::string& part = parts_[next_++];
    setg(part.data(), part.data(), part.data() + part.size());
    return traits_type::to_int_type(part.front());
  }

 private:
  std::vector<std::string> parts_;
  std::size_t next_ = 0;
};

}  // namespace

TEST_CASE("a line has arrived when its end has", "[examples]") {
  Pipe pipe({"a.\nb", "c\nd\n\ne"});
  ArrivedInput arrived(pipe);
  std::istream input(&arrived);
  std::string text;
  CHECK_FALSE(arrived.has_line());
  const auto next = [&] { return std::getline(input, text) ? text : "none"; };
  CHECK(next() == "a.");
  CHECK_FALSE(arrived.has_line());
  CHECK(next() == "bc");
  CHECK(arrived.has_line());
  CHECK(next() == "d");
  CHECK(arrived.has_line());
  CHECK(next().empty());
  CHECK_FALSE(arrived.has_line());
  CHECK(next() == "e");
  CHECK_FALSE(arrived.has_line());
  CHECK(next() == "none");
}

TEST_CASE("a line may be longer than what is read at once", "[examples]") {
  const std::string line(200000, 'x');
  Pipe pipe({"a\n" + line + "\nb"});
  ArrivedInput arrived(pipe);
  std::istream input(&arrived);
  std::string text;
  std::getline(input, text);
  CHECK(arrived.has_line());
  std::getline(input, text);
  CHECK(text == line);
  CHECK_FALSE(arrived.has_line());
}
