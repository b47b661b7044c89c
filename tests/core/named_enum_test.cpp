#include "eigenformer/core/named_enum.hpp"

#include "support/catch.hpp"
#include "support/message_of.hpp"

namespace ef = eigenformer;

namespace colours {

enum class Colour { red, blue, green };
constexpr auto enum_names(Colour) {
  return std::to_array<ef::EnumName<Colour>>({{Colour::blue, "blue"}, {Colour::red, "red"}, {Colour::green, "green"}});
}

}  // namespace colours

using colours::Colour;

TEST_CASE("an enum's values have names, and come back by them", "[core]") {
  CHECK(ef::to_string(Colour::green) == "green");
  CHECK(ef::value_of<Colour>("red") == Colour::red);
  CHECK(ef::values_of<Colour>() == std::array{Colour::blue, Colour::red, Colour::green});
  CHECK(ef::testing::message_of([] { ef::value_of<Colour>("Red"); }) ==
        "value_of: expected blue, red or green, given \"Red\"");
  CHECK(ef::testing::message_of([] { ef::value_of<Colour>("", "file.json: \"colour\""); }) ==
        "file.json: \"colour\": expected blue, red or green, given \"\"");
  CHECK(ef::testing::message_of([] { ef::to_string(static_cast<Colour>(7)); }) ==
        "to_string: 7 is no value of the enum");
}
