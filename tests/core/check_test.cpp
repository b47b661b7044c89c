#include "eigenformer/core/check.hpp"

#include <string>
#include <string_view>
#include <type_traits>

#include "support/catch.hpp"
#include "support/message_of.hpp"

namespace ef = eigenformer;
using ef::testing::message_of;

static_assert(std::is_base_of_v<std::runtime_error, ef::Error>);

TEST_CASE("an error's message is its parts", "[core]") {
  CHECK(message_of([] {
          ef::fail("matmul: x is ", ef::Shape{7, 512}, ", weight is ", ef::Shape{256, 500});
        }) == "matmul: x is [7 x 512], weight is [256 x 500]");
  const std::string name = "name";
  CHECK(message_of([&] { ef::fail(name, ' ' == ' ' ? " " : "", std::string_view("view of it").substr(0, 4), -3); }) ==
        "name view-3");
  CHECK(message_of([] { ef::fail(std::uint8_t{255}, " ", 1.5, " ", ef::Index{1} << 40); }).substr(0, 7) == "255 1.5");
  CHECK(message_of([] { ef::fail(-1e-9, " ", 0.5F, " ", 1e300, " ", 0.0); }) == "-1e-09 0.5 1e+300 0");
  CHECK(message_of([] { ef::fail("most", " ", ef::Shape{0, 0}); }) == "most [0 x 0]");
  CHECK(message_of([] { ef::fail(); }).empty());
}

TEST_CASE("check throws when its condition does not hold", "[core]") {
  CHECK_NOTHROW(ef::check(true, "no"));
  CHECK_THROWS_AS(ef::check(false, "yes"), ef::Error);
  CHECK_THROWS_AS(ef::check(false, "yes"), std::runtime_error);
  CHECK(message_of([] { ef::check(1 > 2, "1 is ", 1, ", 2 is ", 2L); }) == "1 is 1, 2 is 2");
}

TEST_CASE("the shape of anything of Eigen's", "[core]") {
  const ef::Matrix<float> m(3, 4);
  CHECK(ef::shape(m) == ef::Shape{3, 4});
  CHECK(ef::shape(m.transpose()) == ef::Shape{4, 3});
  CHECK(ef::shape(m.row(1)) == ef::Shape{1, 4});
  CHECK(ef::shape(m.array() * 2) == ef::Shape{3, 4});
  CHECK(ef::shape(m.transpose() * m) == ef::Shape{4, 4});
  CHECK(ef::shape(Eigen::VectorXd(0)) == ef::Shape{0, 1});
  CHECK(ef::Shape{3, 4} != ef::Shape{4, 3});
  CHECK(ef::Shape{3, 4} != ef::Shape{3, 5});
}

TEST_CASE("check_shape says which, and both shapes", "[core]") {
  CHECK_NOTHROW(ef::check_shape("softmax", "y", {2, 3}, {2, 3}));
  CHECK(message_of([] {
          ef::check_shape("softmax", "y", {2, 3}, {2, 4});
        }) == "softmax: y is [2 x 3], expected [2 x 4]");
}

TEST_CASE("no terminal obeys a message", "[core]") {
  const std::string name =
      "\x1B]0;owned\x07\r\nsecond\x7F \xC2\x9B"
      "1m \xC3\xA9 \xE6\xA8\xA1 \xC2";
  CHECK(message_of([&] { ef::fail("tensor \"", name, '"'); }) ==
        "tensor \"?]0;owned???second? ?1m \xC3\xA9 \xE6\xA8\xA1 \xC2\"");
}
