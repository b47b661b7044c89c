#include "eigenformer/core/rng.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>
#include <set>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/message_of.hpp"

namespace ef = eigenformer;
using ef::Index;
using Words = std::array<std::uint32_t, 4>;

static_assert(std::uniform_random_bit_generator<ef::Rng>);
static_assert(std::is_same_v<ef::Rng::result_type, std::uint32_t> && ef::Rng::max() == 0xFFFFFFFFU);

namespace {

// Whether counts are what as many draws from equally likely bins give: chi-square within 4.5 deviations of its mean, to
// either side (Wilson and Hilferty's approximation): one honest test in 150 000 fails.
bool equally_likely(const std::vector<Index>& counts) {
  const double draws = static_cast<double>(std::accumulate(counts.begin(), counts.end(), Index{0}));
  const double expected = draws / static_cast<double>(counts.size());
  double chi_square = 0;
  for (const Index n : counts) chi_square += std::pow(static_cast<double>(n) - expected, 2) / expected;
  const double freedom = static_cast<double>(counts.size()) - 1;
  const double spread = std::sqrt(2 / (9 * freedom));
  const double deviation = (std::cbrt(chi_square / freedom) - (1 - spread * spread)) / spread;
  CAPTURE(chi_square, freedom, deviation);
  return std::abs(deviation) < 4.5;
}

template <class Draw>
std::vector<Index> count_bins(std::size_t bins, Index draws, Draw draw) {
  std::vector<Index> counts(bins, 0);
  for (Index i = 0; i < draws; ++i) ++counts.at(static_cast<std::size_t>(draw()));
  return counts;
}

}  // namespace

TEST_CASE("philox gives its authors' known answers", "[core]") {
  // Random123 1.14, tests/kat_vectors: philox4x32 with 10 rounds.
  CHECK(ef::philox({0, 0, 0, 0}, {0, 0}) == Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  CHECK(ef::philox({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}) ==
        Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  CHECK(ef::philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}) ==
        Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEMPLATE_TEST_CASE_SIG("draws of several blocks at once are those of each block", "[core]",
                       ((std::size_t lanes), lanes), 1, 5, 8, 24, 48) {
  ef::Rng rng(9);
  for (int round = 0; round < 20; ++round) {
    const ef::RandomKey key{(std::uint64_t{rng()} << 32) | rng(), (std::uint64_t{rng()} << 32) | rng()};
    std::array<std::uint64_t, lanes> blocks;
    for (std::uint64_t& block : blocks) block = (std::uint64_t{rng()} << 32) | rng();
    const auto draws = ef::detail::draw(key, blocks);
    for (std::size_t l = 0; l < lanes; ++l)
      CHECK(std::array{draws[0][l], draws[1][l], draws[2][l], draws[3][l]} == key.draw(blocks[l]));
  }
}

TEST_CASE("draws are addressed by key, stream and position", "[core]") {
  const ef::RandomKey key{0x299f31d0a4093822, 0x0370734413198a2e};
  CHECK(key.draw(0x85a308d3243f6a88) == Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
  ef::Rng rng(key);
  for (std::uint64_t block = 0; block < 3; ++block)
    for (const std::uint32_t word : key.draw(block)) CHECK(rng() == word);

  ef::Rng zero(0);
  const double expected = (static_cast<double>(0x6627e8d5 >> 5) * 0x1p26 + (0xe169c58d >> 6)) / 0x1p53;
  CHECK(zero.uniform() == expected);
  CHECK(zero() == 0xbc57ac4c);
}

TEST_CASE("a seed gives the same draws again, another seed gives others", "[core]") {
  ef::Rng a(7), b(7), c(8), high(7 + (std::uint64_t{1} << 32));
  int equal_to_c = 0, equal_to_high = 0;
  for (int i = 0; i < 1000; ++i) {
    const std::uint32_t draw = a();
    CHECK(draw == b());
    equal_to_c += draw == c();
    equal_to_high += draw == high();
  }
  CHECK(equal_to_c == 0);
  CHECK(equal_to_high == 0);
}

TEST_CASE("uniform draws are uniform, to the last bits", "[core]") {
  const auto seed = GENERATE(1U, 2U, 3U);
  CAPTURE(seed);
  ef::Rng rng(seed);
  CHECK(equally_likely(count_bins(64, 64000, [&] { return rng.uniform() * 64; })));
  // The bits beyond the first 20, and beyond the first 45.
  CHECK(equally_likely(count_bins(64, 64000, [&] { return std::fmod(rng.uniform() * 0x1p20, 1) * 64; })));
  CHECK(equally_likely(count_bins(64, 64000, [&] { return std::fmod(rng.uniform() * 0x1p45, 1) * 64; })));
  // One draw and the next.
  CHECK(equally_likely(count_bins(256, 64000, [&] {
    const double first = std::floor(rng.uniform() * 16);
    return first * 16 + rng.uniform() * 16;
  })));
  for (int i = 0; i < 1000; ++i) {
    const double x = rng.uniform(-3, 5);
    CHECK((x >= -3 && x < 5));
  }
  CHECK(equally_likely(count_bins(50, 50000, [&] { return (rng.uniform(-3, 5) + 3) / 8 * 50; })));
}

TEST_CASE("normal draws are normal", "[core]") {
  const auto seed = GENERATE(1U, 2U, 3U);
  CAPTURE(seed);
  ef::Rng rng(seed);
  const auto quantile = [&] { return 0.5 * std::erfc(-rng.normal() / std::sqrt(2.0)); };
  CHECK(equally_likely(count_bins(100, 100000, [&] { return quantile() * 100; })));
  CHECK(equally_likely(count_bins(100, 100000, [&] {
    const double first = std::floor(quantile() * 10);
    return first * 10 + quantile() * 10;
  })));
  const double draws = 100000;
  double moments[4] = {};
  for (int i = 0; i < static_cast<int>(draws); ++i) {
    const double x = rng.normal();
    for (int p = 0; p < 4; ++p) moments[p] += std::pow(x, p + 1) / draws;
  }
  const double expected[] = {0, 1, 0, 3}, variance[] = {1, 2, 15, 96};  // of x, x^2, x^3, x^4
  for (int p = 0; p < 4; ++p) {
    CAPTURE(p, moments[p]);
    CHECK(std::abs(moments[p] - expected[p]) < 4.5 * std::sqrt(variance[p] / draws));
  }
}

TEST_CASE("below gives every number equally often", "[core]") {
  const auto seed = GENERATE(1U, 2U);
  CAPTURE(seed);
  ef::Rng rng(seed);
  for (const Index count : {2, 3, 7, 10, 64, 1000}) {
    CAPTURE(count);
    CHECK(equally_likely(
        count_bins(static_cast<std::size_t>(count), 20 * count + 20000, [&] { return rng.randint(count); })));
  }
  for (int i = 0; i < 10; ++i) CHECK(rng.randint(1) == 0);
  // A remainder of 64 bits alone would give the lower two thirds of these numbers 3/4 of the time.
  const Index large = Index{3} << 61;
  std::vector<Index> thirds = count_bins(3, 30000, [&] { return rng.randint(large) / (Index{1} << 61); });
  CHECK(equally_likely(thirds));
  CHECK(ef::testing::message_of([&] { rng.randint(0); }) == "Rng::randint: count is 0, expected at least 1");
  CHECK_THROWS_AS(rng.randint(-1), ef::Error);
}

TEST_CASE("shuffle gives every order equally often", "[core]") {
  const auto seed = GENERATE(1U, 2U);
  CAPTURE(seed);
  ef::Rng rng(seed);
  std::vector<std::vector<int>> orders;
  std::vector<int> order{0, 1, 2, 3};
  do orders.push_back(order);
  while (std::next_permutation(order.begin(), order.end()));
  CHECK(equally_likely(count_bins(orders.size(), 24000, [&] {
    std::vector<int> items{0, 1, 2, 3};
    rng.shuffle(std::span<int>(items));
    return std::find(orders.begin(), orders.end(), items) - orders.begin();
  })));
  std::vector<std::string> none, one{"a"};
  rng.shuffle(std::span<std::string>(none));
  rng.shuffle(std::span<std::string>(one));
  CHECK(one.front() == "a");
}

TEST_CASE("splits are independent", "[core]") {
  const auto seed = GENERATE(1U, 2U);
  CAPTURE(seed);
  ef::Rng parent(seed), unsplit(seed);
  const ef::RandomKey key = parent.split();
  ef::Rng a(key), b(parent.split()), of_a(a.split());
  for (int i = 0; i < 10; ++i) {
    const std::uint32_t draw = parent();
    CHECK(draw == unsplit());  // a split takes no draws
    for (const std::uint64_t word : {key.key, key.stream})
      CHECK((draw != (word >> 32) && draw != (word & 0xFFFFFFFFU)));  // nor is it made of them
  }
  const std::pair<ef::Rng*, ef::Rng*> pairs[] = {{&a, &b}, {&a, &parent}, {&a, &of_a}, {&b, &of_a}};
  for (const auto& [x, y] : pairs)
    CHECK(equally_likely(count_bins(256, 64000, [&, x = x, y = y] {
      const double first = std::floor(x->uniform() * 16);
      return first * 16 + y->uniform() * 16;
    })));
}

TEST_CASE("all splits differ, those of splits too", "[core]") {
  std::set<std::pair<std::uint64_t, std::uint64_t>> seen;
  std::size_t made = 0;
  const auto note = [&](const ef::RandomKey& key) {
    seen.insert({key.key, key.stream});
    ++made;
    return key;
  };
  for (const std::uint64_t seed : {0U, 1U, 2U}) {
    ef::Rng root(note({seed, 0}));
    for (int i = 0; i < 30; ++i) {
      ef::Rng child(note(root.split()));
      for (int j = 0; j < 30; ++j) {
        ef::Rng grandchild(note(child.split()));
        for (int k = 0; k < 3; ++k) note(grandchild.split());
      }
    }
  }
  CHECK(seen.size() == made);
  ef::Rng again(0), same(0);
  CHECK(again.split().key == same.split().key);
}
