#include "eigenformer/io/dtype.hpp"

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "support/catch.hpp"

namespace ef = eigenformer;
using ef::DType;

namespace {

template <class Number, class Stored>
std::vector<Number> converted(DType dtype, const std::vector<Stored>& stored) {
  std::vector<Number> numbers(stored.size());
  ef::convert_numbers(dtype, std::as_bytes(std::span(stored)), std::span(numbers), "here");
  return numbers;
}

template <class Number, class Stored>
std::string error_of(DType dtype, const std::vector<Stored>& stored) {
  try {
    converted<Number>(dtype, stored);
  } catch (const ef::Error& error) {
    return error.what();
  }
  return {};
}

/// IEEE 754's binary16 from its definition: sign, 5 bits of exponent, 10 of fraction.
double half_by_definition(std::uint16_t bits) {
  const double sign = bits >> 15 != 0 ? -1 : 1;
  const int exponent = (bits >> 10) & 31;
  const int fraction = bits & 1023;
  if (exponent == 31) return fraction != 0 ? std::nan("") : sign * std::numeric_limits<double>::infinity();
  return exponent == 0 ? sign * std::ldexp(fraction, -24) : sign * std::ldexp(1024 + fraction, exponent - 25);
}

}  // namespace

TEST_CASE("number types have names and sizes", "[io]") {
  const std::vector<std::pair<std::string, std::size_t>> types{
      {"F64", 8}, {"F32", 4}, {"F16", 2}, {"BF16", 2}, {"I64", 8}, {"I32", 4}, {"I16", 2},
      {"I8", 1},  {"U64", 8}, {"U32", 4}, {"U16", 2},  {"U8", 1},  {"BOOL", 1}};
  for (const auto& [name, bytes] : types) {
    CAPTURE(name);
    REQUIRE(ef::dtype_named(name).has_value());
    CHECK(ef::dtype_name(*ef::dtype_named(name)) == name);
    CHECK(ef::dtype_bytes(*ef::dtype_named(name)) == bytes);
  }
  CHECK_FALSE(ef::dtype_named("F8_E4M3").has_value());
  CHECK_FALSE(ef::dtype_named("f32").has_value());
  CHECK_FALSE(ef::dtype_named("").has_value());

  CHECK(ef::dtype_of<double>() == DType::f64);
  CHECK(ef::dtype_of<float>() == DType::f32);
  CHECK(ef::dtype_of<Eigen::half>() == DType::f16);
  CHECK(ef::dtype_of<Eigen::bfloat16>() == DType::bf16);
  CHECK(ef::dtype_of<std::int64_t>() == DType::i64);
  CHECK(ef::dtype_of<long long>() == DType::i64);
  CHECK(ef::dtype_of<ef::Token>() == DType::i32);
  CHECK(ef::dtype_of<std::int16_t>() == DType::i16);
  CHECK(ef::dtype_of<std::int8_t>() == DType::i8);
  CHECK(ef::dtype_of<std::uint64_t>() == DType::u64);
  CHECK(ef::dtype_of<std::uint32_t>() == DType::u32);
  CHECK(ef::dtype_of<std::uint16_t>() == DType::u16);
  CHECK(ef::dtype_of<std::uint8_t>() == DType::u8);
}

TEST_CASE("every half and every bfloat16 becomes the number that its bits mean", "[io]") {
  std::vector<std::uint16_t> bits(65536);
  for (std::size_t i = 0; i < bits.size(); ++i) bits[i] = static_cast<std::uint16_t>(i);
  const std::vector<double> halves = converted<double>(DType::f16, bits);
  const std::vector<float> halves_as_float = converted<float>(DType::f16, bits);
  const std::vector<float> brains = converted<float>(DType::bf16, bits);
  std::size_t wrong = 0;
  for (std::size_t i = 0; i < bits.size(); ++i) {
    const double half = half_by_definition(bits[i]);
    const auto brain = std::bit_cast<float>(static_cast<std::uint32_t>(i) << 16);  // a float's upper half
    const auto same = [](double a, double b) { return a == b ? std::signbit(a) == std::signbit(b) : a != a && b != b; };
    if (!same(halves[i], half) || !same(halves_as_float[i], half) || !same(brains[i], brain)) ++wrong;
  }
  CHECK(wrong == 0);
}

TEST_CASE("floating types become float or double", "[io]") {
  const double large = 0x1.fffffffffffffp+1023;
  CHECK(converted<double>(DType::f64, std::vector<double>{0.1, -0.0, large}) == std::vector<double>{0.1, -0.0, large});
  CHECK(converted<float>(DType::f64, std::vector<double>{0.1, 1e-300}) == std::vector<float>{0.1F, 0.0F});
  CHECK(converted<double>(DType::f32, std::vector<float>{0.1F}) == std::vector<double>{static_cast<double>(0.1F)});
  CHECK(error_of<float>(DType::i64, std::vector<std::int64_t>{1}) == "here: is I64, expected F64, F32, F16 or BF16");
  CHECK(error_of<double>(DType::boolean, std::vector<std::uint8_t>{1}) ==
        "here: is BOOL, expected F64, F32, F16 or BF16");
}

TEST_CASE("whole types become any whole type in which the numbers fit", "[io]") {
  using Long = std::vector<std::int64_t>;
  CHECK(converted<std::int64_t>(DType::i8, std::vector<std::int8_t>{-128, 127}) == Long{-128, 127});
  CHECK(converted<std::int64_t>(DType::i16, std::vector<std::int16_t>{-32768, 5}) == Long{-32768, 5});
  CHECK(converted<std::int64_t>(DType::i32, std::vector<std::int32_t>{-7, 5}) == Long{-7, 5});
  CHECK(converted<std::int64_t>(DType::u8, std::vector<std::uint8_t>{255}) == Long{255});
  CHECK(converted<std::int64_t>(DType::u16, std::vector<std::uint16_t>{65535}) == Long{65535});
  CHECK(converted<std::int64_t>(DType::u32, std::vector<std::uint32_t>{4294967295U}) == Long{4294967295});
  CHECK(converted<std::int64_t>(DType::boolean, std::vector<std::uint8_t>{0, 1}) == Long{0, 1});
  CHECK(converted<std::uint64_t>(DType::i64, Long{5}) == std::vector<std::uint64_t>{5});
  CHECK(converted<ef::Token>(DType::i64, Long{-1, 2147483647}) == std::vector<ef::Token>{-1, 2147483647});

  CHECK(error_of<ef::Token>(DType::i64, Long{0, 2147483648}) == "here: number 1 is 2147483648, which does not fit I32");
  CHECK(error_of<std::uint8_t>(DType::i8, std::vector<std::int8_t>{-1}) ==
        "here: number 0 is -1, which does not fit U8");
  CHECK(error_of<std::int64_t>(DType::u64, std::vector<std::uint64_t>{std::uint64_t{1} << 63}) ==
        "here: number 0 is 9223372036854775808, which does not fit I64");
  CHECK(error_of<ef::Token>(DType::f32, std::vector<float>{1}) == "here: is F32, expected whole numbers or BOOL");
}
