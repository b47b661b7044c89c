#include "eigenformer/text/detail/double_array.hpp"

#include <string>

#include "eigenformer/core/rng.hpp"
#include "support/catch.hpp"
#include "support/contains.hpp"
#include "support/message_of.hpp"

namespace ef = eigenformer;

namespace {

constexpr std::uint32_t leaf = 1U << 8, value_mark = 1U << 31;

/// The units of a trie, written by hand. No byte leads to a unit that is not set.
struct Trie {
  explicit Trie(std::size_t size) : units(size, value_mark) {
    if (size > 0) units[0] = 0;
  }

  /// Leads from a place to a state, if the place's label fits.
  void lead(std::uint32_t place, std::uint32_t label, std::uint32_t state, std::uint32_t flags = 0) {
    units[place] = (place ^ state) << 10 | flags | label;
  }
  std::string bytes() const {
    std::string all;
    for (const std::uint32_t unit : units)
      for (int shift = 0; shift < 32; shift += 8) all += static_cast<char>(unit >> shift & 0xFF);
    return all;
  }
  void check(std::size_t values = 10, int max_prefixes = 3) const {
    ef::detail::DoubleArray(bytes(), "file").check_walks(values, max_prefixes);
  }

  std::vector<std::uint32_t> units;
};

/// The trie of "a" (value 3) and "ab" (value 9).
Trie two_strings() {
  Trie trie(1024);
  trie.lead(0, 0, 256);
  trie.lead(256 ^ 'a', 'a', 512, leaf);
  trie.units[512] = 3 | value_mark;
  trie.lead(512 ^ 'b', 'b', 768, leaf);
  trie.units[768] = 9 | value_mark;
  return trie;
}

}  // namespace

TEST_CASE("a trie is accepted if no walk leaves it", "[text]") {
  const auto message = [](const Trie& trie, std::size_t values = 10, int max_prefixes = 3) {
    return ef::testing::message_of([&] { trie.check(values, max_prefixes); });
  };
  const auto says = [](const std::string& given, const std::string& part) {
    CAPTURE(given, part);
    CHECK(ef::testing::contains(given, part));
  };
  CHECK_NOTHROW(two_strings().check());
  CHECK_NOTHROW(two_strings().check(10, 2));
  says(message(two_strings(), 9), "file: a trie has the value 9, expected one below 9");
  says(message(two_strings(), 10, 1), "file: a trie has 2 strings that are prefixes of one another");
  Trie shared = two_strings();  // two strings may end in the same units
  shared.lead(256 ^ 'c', 'c', 512, leaf);
  CHECK_NOTHROW(shared.check(10, 2));
  says(message(shared, 10, 1), "prefixes of one another");
  Trie outside = two_strings();
  outside.lead(512 ^ 'x', 'x', 1024);
  says(message(outside), "file: a trie leads to unit 1279, it has 1024");
  outside.units[512 ^ 'x'] = 0x7FFFFE00 | 'x';  // a distance in units of 256
  says(message(outside), "file: a trie ");
  Trie loop = two_strings();
  loop.lead(768 ^ 'z', 'z', 256);
  says(message(loop), "file: a trie leads back to itself");
  loop = two_strings();
  loop.lead(512 ^ 'z', 'z', 512);
  says(message(loop), "file: a trie leads back to itself");
  says(message(Trie(0)), "file: a trie has 0 bytes");
  says(message(Trie(255)), "file: a trie leads to unit 255, it has 255");
  says(ef::testing::message_of([] { ef::detail::DoubleArray(std::string(1023, 'x'), "file"); }), "has 1023 bytes");
}

TEST_CASE("walks in accepted tries stay inside of them", "[text]") {
  const std::uint64_t seed = 20261201;
  CAPTURE(seed);
  ef::Rng rng(seed);
  int accepted = 0, refused = 0;
  for (int round = 0; round < 3000; ++round) {
    Trie trie = two_strings();
    for (ef::Index changes = 1 + rng.randint(4); changes > 0; --changes) {
      const auto place = static_cast<std::uint32_t>(rng.randint(1024));
      if (rng.randint(2) == 0)
        trie.units[place] = rng();
      else  // reachable more often
        trie.lead(256U * (1U + rng() % 3U) ^ 'd', 'd', 256U * (rng() % 5U), rng.randint(2) == 0 ? leaf : 0);
    }
    try {
      trie.check();
      ++accepted;
    } catch (const ef::Error&) {
      ++refused;
      continue;
    }
    for (int walk = 0; walk < 20; ++walk) {
      std::uint32_t state = trie.units[0] >> 10 << ((trie.units[0] & 1U << 9) >> 6);
      int strings = 0;
      for (int step = 0; step < 50; ++step) {
        const auto byte = static_cast<unsigned char>("abcd\0"[rng.randint(5)]);
        REQUIRE((state ^ byte) < trie.units.size());
        const std::uint32_t unit = trie.units[state ^ byte];
        if ((unit & (value_mark | 0xFFU)) != byte) break;
        state = state ^ byte ^ (unit >> 10 << ((unit & 1U << 9) >> 6));
        REQUIRE(state < trie.units.size());
        if ((unit & leaf) == 0) continue;
        REQUIRE((trie.units[state] & ~value_mark) < 10);
        REQUIRE(++strings <= 3);
      }
    }
  }
  CHECK(accepted > 300);
  CHECK(refused > 300);
}
