// Data types of stored tensors, and their conversion to C++ types.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "eigenformer/core/check.hpp"
#include "eigenformer/core/detail/bit_cast.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

static_assert(std::endian::native == std::endian::little,
              "tensor files are little-endian, and their bytes are used as they are: a big-endian machine needs code "
              "that reverses them");

/// Data type of a stored tensor.
enum class DType { f64, f32, f16, bf16, i64, i32, i16, i8, u64, u32, u16, u8, boolean };

namespace detail {

inline constexpr std::array<std::string_view, 13> dtype_names{"F64", "F32", "F16", "BF16", "I64", "I32", "I16",
                                                              "I8",  "U64", "U32", "U16",  "U8",  "BOOL"};

/// Calls visit with a zero of the C++ type in which `dtype` is stored, and returns its result.
template <class Visit>
auto visit_dtype(DType dtype, Visit&& visit) {
  switch (dtype) {
    case DType::f64:
      return visit(double{});
    case DType::f32:
      return visit(float{});
    case DType::f16:
      return visit(Eigen::half{});
    case DType::bf16:
      return visit(Eigen::bfloat16{});
    case DType::i64:
      return visit(std::int64_t{});
    case DType::i32:
      return visit(std::int32_t{});
    case DType::i16:
      return visit(std::int16_t{});
    case DType::i8:
      return visit(std::int8_t{});
    case DType::u64:
      return visit(std::uint64_t{});
    case DType::u32:
      return visit(std::uint32_t{});
    case DType::u16:
      return visit(std::uint16_t{});
    case DType::u8:
    case DType::boolean:
      break;
  }
  return visit(std::uint8_t{});
}

}  // namespace detail

/// Returns the safetensors name of a type, e.g. "F32".
inline std::string_view dtype_name(DType dtype) {
  return detail::dtype_names[static_cast<std::size_t>(dtype)];
}

/// Returns the type with this safetensors name, or nullopt if there is none.
inline std::optional<DType> dtype_named(std::string_view name) {
  for (std::size_t i = 0; i < detail::dtype_names.size(); ++i)
    if (detail::dtype_names[i] == name) return static_cast<DType>(i);
  return std::nullopt;
}

/// Returns the size in bytes of one number.
inline std::size_t dtype_bytes(DType dtype) {
  return detail::visit_dtype(dtype, [](auto zero) { return sizeof(zero); });
}

/// Returns the type that stores a C++ type: F32 for float, I64 for std::int64_t.
template <class Number>
constexpr DType dtype_of() {
  static_assert(std::is_same_v<Number, Eigen::half> || std::is_same_v<Number, Eigen::bfloat16> ||
                    (std::is_arithmetic_v<Number> && !std::is_same_v<Number, bool> && sizeof(Number) <= 8),
                "files hold half, bfloat16, float, double and whole numbers of 8 to 64 bits");
  if constexpr (std::is_same_v<Number, Eigen::half>) {
    return DType::f16;
  } else if constexpr (std::is_same_v<Number, Eigen::bfloat16>) {
    return DType::bf16;
  } else if constexpr (std::is_floating_point_v<Number>) {
    return sizeof(Number) == 8 ? DType::f64 : DType::f32;
  } else {
    constexpr bool is_signed = std::is_signed_v<Number>;
    switch (sizeof(Number)) {
      case 8:
        return is_signed ? DType::i64 : DType::u64;
      case 4:
        return is_signed ? DType::i32 : DType::u32;
      case 2:
        return is_signed ? DType::i16 : DType::u16;
      default:
        return is_signed ? DType::i8 : DType::u8;
    }
  }
}

/// Converts stored numbers, which may be unaligned. Floating types convert to float or double; integer types and BOOL
/// convert to any integer type.
///
/// bytes: numbers.size() * dtype_bytes(dtype) bytes. numbers: receives the result. where: prefix of error messages.
///
/// Throws on conversions between floating and integer types, and if an integer is out of range.
template <class Number>
void convert_numbers(DType dtype, std::span<const std::byte> bytes, std::span<Number> numbers, std::string_view where) {
  static_assert(std::is_arithmetic_v<Number> && !std::is_same_v<Number, bool>,
                "stored numbers become float, double or whole numbers");
  eigen_assert(bytes.size() == numbers.size() * dtype_bytes(dtype));
  detail::visit_dtype(dtype, [&](auto zero) {
    using Stored = decltype(zero);
    if constexpr (std::is_same_v<Stored, Number>) {
      if (!numbers.empty()) std::memcpy(numbers.data(), bytes.data(), bytes.size());
    } else if constexpr (std::is_integral_v<Stored> != std::is_integral_v<Number>) {
      fail(where, ": is ", dtype_name(dtype), ", expected ",
           std::is_integral_v<Number> ? "whole numbers or BOOL" : "F64, F32, F16 or BF16");
    } else {
      for (std::size_t i = 0; i < numbers.size(); ++i) {
        std::array<std::byte, sizeof(Stored)> raw;
        std::memcpy(raw.data(), bytes.data() + i * sizeof(Stored), sizeof(Stored));
        const auto stored = detail::bit_cast<Stored>(raw);
        if constexpr (std::is_integral_v<Number>) {
          if (!std::in_range<Number>(stored))
            fail(where, ": number ", i, " is ", stored, ", which does not fit ", dtype_name(dtype_of<Number>()));
          numbers[i] = static_cast<Number>(stored);
        } else if constexpr (sizeof(Stored) == 2) {
          numbers[i] = static_cast<Number>(static_cast<float>(stored));
        } else {
          numbers[i] = static_cast<Number>(stored);
        }
      }
    }
  });
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
