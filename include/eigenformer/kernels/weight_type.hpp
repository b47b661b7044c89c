// The number types in which weights are packed and stored.
#pragma once

#include "eigenformer/core/named_enum.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// The type of the numbers of a weight matrix.
enum class WeightType {
  float32,   // the model's own scalars, float or double
  bfloat16,  // half the memory of floats; relative rounding errors of at most 2^-8
  int8       // a quarter of the memory of floats: integers from -127 to 127, and one scale per output row
};

constexpr auto enum_names(WeightType) {
  return std::to_array<EnumName<WeightType>>(
      {{WeightType::float32, "float32"}, {WeightType::bfloat16, "bfloat16"}, {WeightType::int8, "int8"}});
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
