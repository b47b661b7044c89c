// A model's weights, packed once for inference.
#pragma once

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
/// The model must neither move nor change. Any number of threads may share the packed weights.
template <class Scalar>
class PackedWeights {
 public:
  template <class Model>
  explicit PackedWeights(const Model& model) {
    for_each_parameter(model, [&](const std::string&, const Parameter<Scalar>& weight) {
      if (weight.value.rows() > 1) packed_.emplace(&weight, PackedWeight<Scalar>(weight.value));
    });
  }

  /// Returns the packed weight, or null for a parameter that is not the model's or has a single row.
  const PackedWeight<Scalar>* find(const Parameter<Scalar>& weight) const {
    const auto entry = packed_.find(&weight);
    return entry == packed_.end() ? nullptr : &entry->second;
  }

 private:
  std::unordered_map<const Parameter<Scalar>*, PackedWeight<Scalar>> packed_;
};

}  // namespace eigenformer::inline EIGENFORMER_ABI
