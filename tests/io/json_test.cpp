#include "eigenformer/io/json.hpp"

#include <string>

#include "support/catch.hpp"

namespace ef = eigenformer;

namespace {

std::string json_error(const std::string& text) {
  try {
    ef::parse_json(text, "config.json");
  } catch (const ef::Error& error) {
    return error.what();
  }
  return {};
}

}  // namespace

TEST_CASE("JSON texts become what the JSON library's own parser makes of them", "[io]") {
  for (const char* text :
       {"{}", "[]", "null", "-7", "0.25", "\"a\\u0000b\"", "18446744073709551615", " [1, [], {}, [[2], {\"a\": []}]] ",
        R"({"a": {"b": [1, -2, 3.5, true, false, null, "x"], "c": {}}, "d": [{"a": 1}, {"a": 2}]})"}) {
    CAPTURE(text);
    const ef::Json value = ef::parse_json(text, "text");
    CHECK(value == ef::Json::parse(text));
    CHECK(value.dump() == ef::Json::parse(text).dump());
  }
}

TEST_CASE("what is not JSON is an error that says where", "[io]") {
  REQUIRE_THROWS_AS(ef::parse_json("{", "config.json"), ef::Error);
  CHECK(json_error("{\n  \"a\": 1,\n  \"b\": oops\n}") == "config.json: line 3, column 8: not valid JSON");
  CHECK(json_error("[1 2]") == "config.json: line 1, column 4: not valid JSON");
  for (const char* text :
       {"", " ", "{", "[1,", "{\"a\"", "{\"a\":", "{\"a\":1,}", "[1]]", "{} {}", "\"\xFF\"", "'a'", "1e999", "nan"}) {
    CAPTURE(text);
    CHECK(json_error(text).find("not valid JSON") != std::string::npos);
  }
  CHECK(json_error(std::string("{}\0{}", 5)).find("zero byte") != std::string::npos);
}

TEST_CASE("a key may stand once in an object", "[io]") {
  CHECK(json_error(R"({"a": 1, "b": {"a": 1}, "c": [{"a": 1}, {"a": 1}]})").empty());
  CHECK(json_error(R"({"a": 1, "a": 1})") == "config.json: the key \"a\" stands twice in one object");
  CHECK(json_error(R"([{"x": {"b": 1, "c": {"b": 2}, "b": 3}}])").find("\"b\" stands twice") != std::string::npos);
}

TEST_CASE("depth is limited, so that a hostile text cannot take all memory", "[io]") {
  CHECK(json_error(std::string(100, '[') + std::string(100, ']')).empty());
  CHECK(json_error(std::string(101, '[') + std::string(101, ']')).find("more than 100") != std::string::npos);
  CHECK(json_error(std::string(1'000'000, '[')).find("more than 100") != std::string::npos);
}
