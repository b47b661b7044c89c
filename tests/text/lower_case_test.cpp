#include "eigenformer/text/lower_case.hpp"

#include <cstdint>
#include <string>

#include "support/catch.hpp"
#include "support/message_of.hpp"

namespace ef = eigenformer;
using ef::testing::message_of;

TEST_CASE("capitals of every script become small", "[text]") {
  CHECK(ef::lower_case("Hello, WORLD 123") == "hello, world 123");
  CHECK(ef::lower_case("\xC3\x84\xC3\x96\xC3\x9C \xC3\x9F \xE1\xBA\x9E") ==
        "\xC3\xA4\xC3\xB6\xC3\xBC \xC3\x9F \xC3\x9F");                                      // umlauts and sharp s
  CHECK(ef::lower_case("\xD0\x9C\xD0\x98\xD0\xA0") == "\xD0\xBC\xD0\xB8\xD1\x80");          // Cyrillic
  CHECK(ef::lower_case("\xCE\xA9\xCE\x94 \xCE\xA3") == "\xCF\x89\xCE\xB4 \xCF\x83");        // Greek
  CHECK(ef::lower_case("\xC4\xB0") == "i\xCC\x87");                                         // capital i with dot
  CHECK(ef::lower_case("\xE4\xBD\xA0\xF0\x9F\x98\x80") == "\xE4\xBD\xA0\xF0\x9F\x98\x80");  // neither
  CHECK(ef::lower_case(U'A') == U'a');
  CHECK(ef::lower_case(U'[') == U'[');
}

TEST_CASE("lower case is Python's for every character", "[text]") {
  // FNV-1a over the UTF-8 of chr(c).lower(), for every c but the surrogates and the capital sigma, by Python 3.11:
  //   h = 0xcbf29ce484222325
  //   for b in text: h = ((h ^ b) * 0x100000001b3) % 2**64
  std::uint64_t hash = 0xcbf29ce484222325;
  for (char32_t c = 0; c <= 0x10FFFF; ++c) {
    if (c == 0xD800) c = 0xE000;
    if (c == 0x3A3) continue;
    std::string text;
    ef::append_utf8(text, c);
    for (const char byte : ef::lower_case(text)) hash = (hash ^ static_cast<unsigned char>(byte)) * 0x100000001b3;
  }
  CHECK(hash == 0x51f1e559aaa04728);
}

TEST_CASE("text that is not UTF-8 has no lower case", "[text]") {
  CHECK(message_of([] { ef::lower_case("AB\xFF"); }) == "lower_case: invalid UTF-8 at byte 2");
}
