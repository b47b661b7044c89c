// A hash of a model's parameters, to tell whether two runs gave the same bits.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "eigenformer/autograd/parameter.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// The 64-bit FNV-1a hash (Fowler, Noll and Vo) of bytes, which are added piece by piece.
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

/// Returns a hash of the names, shapes and bits of all parameters of a model or optimiser. The hash depends on the
/// machine's byte order.
template <class Model>
std::uint64_t parameter_hash(const Model& model) {
  Fnv1a hash;
  for_each_parameter(model, [&](const std::string& name, const auto& parameter) {
    hash.add_numbers(std::span<const char>(name.data(), name.size()));
    const Index sizes[] = {parameter.value.rows(), parameter.value.cols()};
    hash.add_numbers(std::span<const Index>(sizes));
    hash.add_numbers(std::span(parameter.value.data(), static_cast<std::size_t>(parameter.size())));
  });
  return hash.value();
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
