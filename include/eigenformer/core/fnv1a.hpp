// A hash of bytes, to tell whether two files or two results are the same.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "eigenformer/core/config.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// Computes the 64-bit FNV-1a hash (Fowler, Noll and Vo) of bytes that are added piece by piece.
class Fnv1a {
 public:
  void add(std::span<const std::byte> bytes) {
    for (const std::byte byte : bytes) value_ = (value_ ^ std::to_integer<std::uint64_t>(byte)) * 0x100000001b3;
  }
  /// Adds the bytes of numbers, in the machine's byte order.
  template <class Number>
  void add_numbers(std::span<const Number> numbers) {
    add(std::as_bytes(numbers));
  }
  std::uint64_t value() const { return value_; }

 private:
  std::uint64_t value_ = 0xcbf29ce484222325;
};

}  // namespace eigenformer::inline EIGENFORMER_ABI
