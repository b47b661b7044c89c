// A hash of a model's parameters, to tell whether two runs gave the same bits.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "eigenformer/autograd/parameter.hpp"
#include "eigenformer/core/fnv1a.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

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
