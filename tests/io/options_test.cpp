#include "eigenformer/io/options.hpp"

#include <cmath>
#include <concepts>
#include <limits>

#include "support/catch.hpp"
#include "support/message_of.hpp"

namespace ef = eigenformer;

namespace paint {

enum class Colour { red, blue };
constexpr auto enum_names(Colour) {
  return std::to_array<ef::EnumName<Colour>>({{Colour::red, "red"}, {Colour::blue, "blue"}});
}

struct Brush {
  ef::Index hairs = 100;
};
template <class AnyBrush>
requires std::same_as<std::remove_const_t<AnyBrush>, Brush>
void visit_options(AnyBrush& brush, auto&& visitor) {
  visitor("hairs", brush.hairs);
}

struct Options {
  ef::Index coats = 2;
  double thickness = 0.5;
  bool glossy = false;
  Colour colour = Colour::red;
  ef::Index hours = 8;
  Brush brush{};
  std::string label{};
  std::vector<Brush> spare{};
};
template <class AnyOptions>
requires std::same_as<std::remove_const_t<AnyOptions>, Options>
void visit_options(AnyOptions& options, auto&& visitor) {
  visitor("coats", options.coats);
  visitor("thickness", options.thickness);
  visitor("glossy", options.glossy);
  visitor("colour", options.colour);
  visitor("hours", options.hours, ef::AddedLater());
  visitor("brush", options.brush, ef::AddedLater());
  visitor("label", options.label, ef::AddedLater());
  visitor("spare", options.spare, ef::AddedLater());
}

}  // namespace paint

TEST_CASE("options of every type go to JSON and back", "[io]") {
  const ef::Json json =
      ef::options_to_json(paint::Options{3, 0.25, true, paint::Colour::blue, 5, {60}, "fine", {{1}, {2}}});
  CHECK(json == ef::Json{{"coats", 3},
                         {"thickness", 0.25},
                         {"glossy", true},
                         {"colour", "blue"},
                         {"hours", 5},
                         {"brush", {{"hairs", 60}}},
                         {"label", "fine"},
                         {"spare", ef::Json::array({{{"hairs", 1}}, {{"hairs", 2}}})}});
  const auto options = ef::options_from_json<paint::Options>(json, "test");
  CHECK(options.coats == 3);
  CHECK(options.thickness == 0.25);
  CHECK(options.glossy);
  CHECK(options.colour == paint::Colour::blue);
  CHECK(options.hours == 5);
  CHECK(options.brush.hairs == 60);
  CHECK(options.label == "fine");
  CHECK(options.spare.size() == 2);
  CHECK(options.spare.back().hairs == 2);
}

TEST_CASE("an option that was added later keeps its default where it is missing", "[io]") {
  ef::Json json = ef::options_to_json(paint::Options{3, 0.25, true, paint::Colour::blue, 5, {60}, "fine", {{1}, {2}}});
  json.erase("hours");
  json.erase("brush");
  json.erase("label");
  json.erase("spare");
  const auto options = ef::options_from_json<paint::Options>(json, "test");
  CHECK(options.coats == 3);
  CHECK(options.hours == 8);
  CHECK(options.brush.hairs == 100);
  json["smell"] = 1;
  CHECK(ef::testing::message_of([&] { ef::options_from_json<paint::Options>(json, "paint.json"); }) ==
        "paint.json: has \"smell\", which is not an option");
}

TEST_CASE("JSON that is not the options is refused, with its place", "[io]") {
  const auto message = [](const char* key, const ef::Json& value) {
    ef::Json json = ef::options_to_json(paint::Options());
    json[key] = value;
    return ef::testing::message_of([&] { ef::options_from_json<paint::Options>(json, "paint.json"); });
  };
  CHECK(message("coats", 2.5) == "paint.json: \"coats\" is 2.5, expected a whole number from 0 to 2^31");
  CHECK(message("coats", -1) == "paint.json: \"coats\" is -1, expected a whole number from 0 to 2^31");
  CHECK(message("thickness", "thin") == "paint.json: \"thickness\" is \"thin\", expected a number");
  CHECK(message("glossy", 1) == "paint.json: \"glossy\" is 1, expected true or false");
  CHECK(message("brush", {{"hairs", -1}}) ==
        "paint.json: \"brush\": \"hairs\" is -1, expected a whole number from 0 to 2^31");
  CHECK(message("label", 1) == "paint.json: \"label\" is 1, expected a text");
  CHECK(message("spare", 1) == "paint.json: \"spare\" is 1, expected a list");
  CHECK(message("spare", ef::Json::array({{{"hairs", 1}}, {{"hairs", 0.5}}})) ==
        "paint.json: \"spare\"[1]: \"hairs\" is 0.5, expected a whole number from 0 to 2^31");
  CHECK(message("colour", 1) == "paint.json: \"colour\" is 1, expected a text");
  CHECK(message("colour", "green") == "paint.json: \"colour\": expected red or blue, given \"green\"");
  CHECK(message("hours", "many") == "paint.json: \"hours\" is \"many\", expected a whole number from 0 to 2^31");
  CHECK(message("smell", 1) == "paint.json: has \"smell\", which is not an option");
  CHECK(ef::testing::message_of([] { ef::options_from_json<paint::Options>(ef::Json::array(), "paint.json"); }) ==
        "paint.json: is of type array, expected an object");
  CHECK(ef::testing::message_of([] { ef::options_from_json<paint::Options>(ef::Json::object(), "paint.json"); }) ==
        "paint.json: has no \"coats\"");
}

TEST_CASE("options that could not be read again are not written", "[io]") {
  const auto message = [](auto change) {
    paint::Options options;
    change(options);
    return ef::testing::message_of([&] { ef::options_to_json(options, "save"); });
  };
  constexpr double infinity = std::numeric_limits<double>::infinity();
  CHECK(message([](paint::Options& o) { o.coats = -1; }) ==
        "save: \"coats\" is -1, expected a whole number from 0 to 2^31");
  CHECK(message([](paint::Options& o) { o.thickness = infinity; }) ==
        "save: \"thickness\" is inf, expected a finite number");
  CHECK(message([](paint::Options& o) { o.thickness = std::nan(""); }) ==
        "save: \"thickness\" is nan, expected a finite number");
  CHECK(message([](paint::Options& o) { o.label = "a\xFF"; }) == "save: \"label\": invalid UTF-8 at byte 1");
  CHECK(message([](paint::Options& o) {
          o.spare = {{1}, {-2}};
        }) == "save: \"spare\"[1]: \"hairs\" is -2, expected a whole number from 0 to 2^31");
}

TEST_CASE("all numbers go to JSON and back if they may", "[io]") {
  constexpr auto all = ef::NumbersInJson::all;
  const auto again = [](const paint::Options& options) {
    const std::string text = ef::options_to_json(options, "save", all).dump();
    return ef::options_from_json<paint::Options>(ef::parse_json(text, "paint.json"), "paint.json", all);
  };
  using Whole = std::numeric_limits<ef::Index>;
  for (const ef::Index number : {ef::Index{-1}, Whole::min(), Whole::max()}) {
    const auto read = again({.coats = number, .spare = {{number}}});
    CHECK(read.coats == number);
    CHECK(read.spare.front().hairs == number);
  }
  constexpr double infinity = std::numeric_limits<double>::infinity();
  for (const double number : {infinity, -infinity, 1e308, 5e-324})
    CHECK(again({.thickness = number}).thickness == number);
  CHECK(std::isnan(again({.thickness = std::nan("")}).thickness));

  const auto message = [](const char* key, const char* value, ef::NumbersInJson numbers) {
    ef::Json json = ef::options_to_json(paint::Options());
    json[key] = ef::parse_json(value, "value");
    return ef::testing::message_of([&] { ef::options_from_json<paint::Options>(json, "paint.json", numbers); });
  };
  CHECK(message("thickness", "\"inf\"", ef::NumbersInJson::options) ==
        "paint.json: \"thickness\" is \"inf\", expected a number");
  CHECK(message("coats", "2147483649", ef::NumbersInJson::options) ==
        "paint.json: \"coats\" is 2147483649, expected a whole number from 0 to 2^31");
  CHECK(message("coats", "18446744073709551615", all) ==
        "paint.json: \"coats\" is 18446744073709551615, expected a whole number from -2^63 to 2^63 - 1");
}
