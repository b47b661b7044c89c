#include "eigenformer/core/detail/convert.hpp"

#include <cstring>
#include <limits>
#include <vector>

#include "eigenformer/core/rng.hpp"
#include "support/catch.hpp"

namespace ef = eigenformer;

namespace {

using ef::Index;

/// Checks that convert() gives the bits of static_cast, or NaN where it gives NaN, for 0 to 40 numbers and for all.
template <class To, class From>
void check_conversion(const std::vector<From>& numbers) {
  const auto check_size = [&](std::size_t begin, std::size_t count) {
    std::vector<To> found(count + 1), expected(count + 1);
    for (std::size_t i = 0; i < count; ++i) expected[i] = static_cast<To>(numbers[begin + i]);
    ef::detail::convert(numbers.data() + begin, static_cast<Index>(count), found.data());  // leaves the last entry
    bool equal = true;
    for (std::size_t i = 0; i <= count; ++i) {
      const bool both_nan = expected[i] != expected[i] && found[i] != found[i];
      equal = equal && (both_nan || std::memcmp(&found[i], &expected[i], sizeof(To)) == 0);
    }
    CAPTURE(begin, count);
    CHECK(equal);
  };
  for (std::size_t count = 0; count <= 40; ++count) check_size(count * 3, count);
  check_size(0, numbers.size());
}

template <class From>
std::vector<From> all_16_bit_numbers() {
  std::vector<From> numbers;
  for (std::uint32_t bits = 0; bits < 0x10000U; ++bits)
    numbers.push_back(ef::detail::bit_cast<From>(static_cast<std::uint16_t>(bits)));
  return numbers;
}

/// Returns numbers of random bits, halves between two 16-bit numbers and their neighbours, and special values.
std::vector<float> many_floats(unsigned seed) {
  using Limits = std::numeric_limits<float>;
  std::vector<float> numbers{0.0F,
                             -0.0F,
                             Limits::infinity(),
                             -Limits::infinity(),
                             Limits::quiet_NaN(),
                             -Limits::quiet_NaN(),
                             (Limits::max)(),
                             Limits::lowest(),
                             (Limits::min)(),
                             Limits::denorm_min(),
                             65504.0F,
                             65519.9F,
                             65520.0F};
  ef::Rng rng(seed);
  for (int i = 0; i < 200000; ++i) {
    const auto bits = static_cast<std::uint32_t>(rng());
    for (const std::uint32_t tail : {bits & 0xFFFFU, 0x7FFFU, 0x8000U, 0x8001U})
      numbers.push_back(ef::detail::bit_cast<float>((bits & 0xFFFF0000U) | tail));
  }
  return numbers;
}

}  // namespace

TEST_CASE("16-bit numbers become floats as static_cast converts them", "[core]") {
  check_conversion<float>(all_16_bit_numbers<Eigen::bfloat16>());
  check_conversion<float>(all_16_bit_numbers<Eigen::half>());
}

TEST_CASE("floats are rounded to 16 bits as static_cast rounds them", "[core]") {
  const unsigned seed = 21;
  CAPTURE(seed);
  check_conversion<Eigen::bfloat16>(many_floats(seed));
  check_conversion<Eigen::half>(many_floats(seed));
}

TEST_CASE("other numbers are converted too", "[core]") {
  std::vector<double> numbers;
  for (int i = 0; i < 200; ++i) numbers.push_back(i * 1.25 - 100);
  check_conversion<std::int32_t>(numbers);
  check_conversion<float>(numbers);
}
