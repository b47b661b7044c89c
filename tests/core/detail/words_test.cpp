#include "eigenformer/core/detail/words.hpp"

#include <vector>

#include "eigenformer/core/rng.hpp"
#include "support/catch.hpp"

namespace ef = eigenformer;
namespace simd = eigenformer::simd;

namespace {

template <class W>
constexpr std::size_t words_in = sizeof(W) / sizeof(std::uint32_t);

template <class W, class Function>
std::vector<std::uint32_t> stored(Function f, const std::vector<std::uint32_t>& a,
                                  const std::vector<std::uint32_t>& b) {
  std::vector<std::uint32_t> to(words_in<W>);
  simd::store_words<W>(to.data(), f(simd::load_words<W>(a.data()), simd::load_words<W>(b.data())));
  return to;
}

template <class W>
void check_words(const W&) {
  ef::Rng rng(1);
  for (int round = 0; round < 200; ++round) {
    std::vector<std::uint32_t> a(words_in<W>), b(words_in<W>);
    for (std::uint32_t& word : a) word = rng();
    for (std::uint32_t& word : b) word = rng();
    if (round == 0) a.assign(a.size(), 0xFFFFFFFF), b = a;
    const auto high = stored<W>([](const W& x, const W& y) { return simd::multiply_words(x, y).high; }, a, b);
    const auto low = stored<W>([](const W& x, const W& y) { return simd::multiply_words(x, y).low; }, a, b);
    const auto differing = stored<W>([](const W& x, const W& y) { return simd::exclusive_or(x, y); }, a, b);
    const auto all = stored<W>([&](const W&, const W&) { return simd::broadcast_word<W>(b[0]); }, a, b);
    for (std::size_t i = 0; i < a.size(); ++i) {
      CAPTURE(i, a[i], b[i]);
      CHECK(((std::uint64_t{high[i]} << 32) | low[i]) == std::uint64_t{a[i]} * b[i]);
      CHECK(differing[i] == (a[i] ^ b[i]));
      CHECK(all[i] == b[0]);
    }
  }
}

}  // namespace

TEST_CASE("words are multiplied in full, each by its own", "[core]") {
  check_words(simd::Words{});
  check_words(std::uint32_t{});
}

TEST_CASE("numbers are held in registers if they fill some", "[core]") {
  constexpr std::size_t words = sizeof(simd::Words) / sizeof(std::uint32_t);
  CHECK(sizeof(simd::WordsOf<2 * words>) == sizeof(simd::Words));
  CHECK(sizeof(simd::WordsOf<2 * words + 1>) == (words == 1 ? sizeof(simd::Words) : sizeof(std::uint32_t)));
}
