// A model's weights, packed once for inference.
#pragma once

#include <cstddef>
#include <unordered_map>

#include "eigenformer/autograd/parameter.hpp"
#include "eigenformer/kernels/packed_weight.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// Copies of a model's weight matrices in the order in which the matmul kernel reads them. They make inference faster,
/// above all for few tokens. Results are bit-identical:
///
///   const PackedWeights<float> packed(model);
///   model({.packed = &packed}, source, target);
///
/// Weights of a float model can be packed as bfloat16 or int8. Products are then faster still, but the weights are
/// rounded (see PackedWeight):
///
///   const PackedWeights<float> packed(model, WeightType::int8);
///
/// Linear layers, embeddings, tied output layers and recurrent layers then use the rounded weights. Other layers use
/// the model's own.
///
/// The model must neither move nor change. Any number of threads may share the packed weights.
template <class Scalar>
class PackedWeights {
 public:
  template <class Model>
  explicit PackedWeights(const Model& model, WeightType type = WeightType::float32) : type_(type) {
    for_each_parameter(model, [&](const std::string&, const Parameter<Scalar>& weight) {
      if (weight.value.rows() > 1) packed_.emplace(&weight, PackedWeight<Scalar>(weight.value, type));
    });
  }

  WeightType type() const { return type_; }
  /// Returns the memory of all packed weights in bytes, without the scales of int8 weights.
  std::size_t bytes() const {
    std::size_t bytes = 0;
    for (const auto& [parameter, weight] : packed_) bytes += weight.bytes().size();
    return bytes;
  }

  /// Returns the packed weight, or null for a parameter that is not the model's or has a single row.
  const PackedWeight<Scalar>* find(const Parameter<Scalar>& weight) const {
    const auto entry = packed_.find(&weight);
    return entry == packed_.end() ? nullptr : &entry->second;
  }

 private:
  WeightType type_;
  std::unordered_map<const Parameter<Scalar>*, PackedWeight<Scalar>> packed_;
};

}  // namespace eigenformer::inline EIGENFORMER_ABI
