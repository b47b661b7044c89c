// Counter-based random numbers: Philox4x32-10 (Salmon et al. 2011, "Parallel Random Numbers: As Easy as 1, 2, 3").
// The n-th draw depends only on the key and on n. Draws are therefore the same on every platform, can be made in any
// order by any number of threads, and can be repeated instead of stored.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numbers>
#include <span>
#include <utility>

#include "eigenformer/core/check.hpp"
#include "eigenformer/core/detail/words.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

namespace detail {

/// Returns the threshold t such that a random 32-bit word is below t with probability `rate`, 0 <= rate < 1.
inline std::uint32_t word_threshold(double rate) {
  constexpr double words = 0x1p32;
  return static_cast<std::uint32_t>(std::min<double>(std::round(rate * words), words - 1));
}

/// Returns the scale for the entries that dropout keeps. Dropout sets an entry to 0 if its random word is below
/// `threshold`; the scale of the others preserves the expectation.
template <class Scalar>
Scalar kept_factor(std::uint32_t threshold) {
  constexpr double words = 0x1p32;
  return static_cast<Scalar>(words / (words - threshold));
}

/// Rotates a word left by 0 to 31 bits.
EIGEN_ALWAYS_INLINE std::uint32_t rotate_left(std::uint32_t word, std::uint32_t places) {
  return word << places | word >> ((0U - places) & 31U);
}

/// Applies Philox4x32 with ten rounds to several counters at once, in place. counters[w] holds word w of every counter.
template <std::size_t lanes>
void philox(std::array<std::array<std::uint32_t, lanes>, 4>& counters, std::array<std::uint32_t, 2> key) {
  using W = simd::WordsOf<lanes>;
  auto& [w0, w1, w2, w3] = counters;
  constexpr std::size_t width = sizeof(W) / sizeof(std::uint32_t);  // NOLINT(bugprone-sizeof-expression): 1 at least
  for (int round = 0; round < 10; ++round) {
    const W key_0 = simd::broadcast_word<W>(key[0]), key_1 = simd::broadcast_word<W>(key[1]);
    for (std::size_t l = 0; l < lanes; l += width) {
      const auto a = simd::multiply_words(simd::broadcast_word<W>(0xD2511F53), simd::load_words<W>(&w0[l]));
      const auto b = simd::multiply_words(simd::broadcast_word<W>(0xCD9E8D57), simd::load_words<W>(&w2[l]));
      simd::store_words(&w0[l], simd::exclusive_or(b.high, simd::exclusive_or(simd::load_words<W>(&w1[l]), key_0)));
      simd::store_words(&w2[l], simd::exclusive_or(a.high, simd::exclusive_or(simd::load_words<W>(&w3[l]), key_1)));
      simd::store_words(&w1[l], b.low);
      simd::store_words(&w3[l], a.low);
    }
    key[0] += 0x9E3779B9;
    key[1] += 0xBB67AE85;
  }
}

}  // namespace detail

/// Returns four 32-bit draws: the Philox4x32 bijection with ten rounds.
inline std::array<std::uint32_t, 4> philox(std::array<std::uint32_t, 4> counter, std::array<std::uint32_t, 2> key) {
  std::array<std::array<std::uint32_t, 1>, 4> words{{{counter[0]}, {counter[1]}, {counter[2]}, {counter[3]}}};
  detail::philox(words, key);
  return {words[0][0], words[1][0], words[2][0], words[3][0]};
}

/// A source of draws addressed by position. Dropout saves it to draw the same mask again in the backward.
struct RandomKey {
  std::uint64_t key = 0;
  std::uint64_t stream = 0;

  /// Returns draws 4 * block to 4 * block + 3.
  std::array<std::uint32_t, 4> draw(std::uint64_t block) const {
    return philox({static_cast<std::uint32_t>(block), static_cast<std::uint32_t>(block >> 32),
                   static_cast<std::uint32_t>(stream), static_cast<std::uint32_t>(stream >> 32)},
                  {static_cast<std::uint32_t>(key), static_cast<std::uint32_t>(key >> 32)});
  }
};

namespace detail {

/// Returns the draws of several blocks at once: entry [w][l] is word w of block blocks[l].
template <std::size_t lanes>
std::array<std::array<std::uint32_t, lanes>, 4> draw(const RandomKey& key,
                                                     const std::array<std::uint64_t, lanes>& blocks) {
  std::array<std::array<std::uint32_t, lanes>, 4> counters;
  for (std::size_t l = 0; l < lanes; ++l) {
    counters[0][l] = static_cast<std::uint32_t>(blocks[l]);
    counters[1][l] = static_cast<std::uint32_t>(blocks[l] >> 32);
    counters[2][l] = static_cast<std::uint32_t>(key.stream);
    counters[3][l] = static_cast<std::uint32_t>(key.stream >> 32);
  }
  philox(counters, {static_cast<std::uint32_t>(key.key), static_cast<std::uint32_t>(key.key >> 32)});
  return counters;
}

}  // namespace detail

/// A sequential generator: each result depends on the seed and on the number of draws before it.
/// Not thread-safe: give each thread its own generator with `split`.
class Rng {
 public:
  using result_type = std::uint32_t;

  explicit Rng(std::uint64_t seed) : Rng(RandomKey{seed, 0}) {}
  explicit Rng(RandomKey key) : key_(key) {}

  static constexpr result_type(min)() { return 0; }
  static constexpr result_type(max)() { return (std::numeric_limits<result_type>::max)(); }

  result_type operator()() {
    if (drawn_ % 4 == 0) block_ = key_.draw(drawn_ / 4);
    return block_[drawn_++ % 4];
  }

  /// Returns a uniform number in [0, 1) with 53 random bits.
  double uniform() {
    const std::uint64_t high = (*this)() >> 5;
    const std::uint64_t low = (*this)() >> 6;
    return static_cast<double>((high << 26) | low) * 0x1p-53;
  }
  double uniform(double low, double high) { return low + (high - low) * uniform(); }

  /// Returns a normal number with mean 0 and variance 1 (Box and Muller 1958). It uses the platform's log and cos, so
  /// the last digit may differ between platforms.
  double normal() {
    const double radius = std::sqrt(-2 * std::log(1 - uniform()));
    return radius * std::cos(2 * std::numbers::pi * uniform());
  }

  /// Returns a uniform integer in 0 .. count - 1, without bias. Throws if count < 1.
  Index randint(Index count) {
    check(count >= 1, "Rng::randint: count is ", count, ", expected at least 1");
    const auto n = static_cast<std::uint64_t>(count);
    const std::uint64_t usable = max64 - max64 % n;  // larger draws would bias towards small results
    std::uint64_t draw = draw64();
    while (draw >= usable) draw = draw64();
    return static_cast<Index>(draw % n);
  }

  /// Shuffles items; every order is equally likely. std::shuffle gives different orders on different standard
  /// libraries.
  template <class T>
  void shuffle(std::span<T> items) {
    for (std::size_t i = items.size(); i > 1; --i)
      std::swap(items[i - 1], items[static_cast<std::size_t>(randint(static_cast<Index>(i)))]);
  }

  /// Returns a new independent source on every call, for the draws of one operation. Generators made from it can be
  /// split in turn.
  RandomKey split() {
    const std::uint64_t beyond_draws = std::uint64_t{1} << 63;
    const std::array<std::uint32_t, 4> draw = key_.draw(beyond_draws + splits_++);
    return {std::uint64_t{draw[0]} << 32 | draw[1], std::uint64_t{draw[2]} << 32 | draw[3]};
  }

 private:
  static constexpr std::uint64_t max64 = (std::numeric_limits<std::uint64_t>::max)();

  std::uint64_t draw64() {
    const std::uint64_t high = (*this)();
    return (high << 32) | (*this)();
  }

  RandomKey key_;
  std::array<std::uint32_t, 4> block_{};
  std::uint64_t drawn_ = 0;
  std::uint64_t splits_ = 0;
};

}  // namespace eigenformer::inline EIGENFORMER_ABI
