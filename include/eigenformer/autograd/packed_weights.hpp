// A model's weights, packed once for inference.
#pragma once

#include <unordered_map>

#include "eigenformer/autograd/parameter.hpp"
#include "eigenformer/kernels/packed_weight.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// Copies of all of a model's matrices in the order in which products read them. A context that has them makes
/// inference faster, most of all of few tokens, and changes no result by a bit:
///
///   const PackedWeights<float> packed(model);
///   model({.packed = &packed}, source, target);
///
/// The model must stay where it is, and unchanged; any number of threads may use them.
template <class Scalar>
class PackedWeights {
 public:
  template <class Model>
  explicit PackedWeights(const Model& model) {
    for_each_parameter(model, [&](const std::string&, const Parameter<Scalar>& weight) {
      if (weight.value.rows() > 1) packed_.emplace(&weight, PackedWeight<Scalar>(weight.value));
    });
  }

  /// Null if it is not the model's, or has one row.
  const PackedWeight<Scalar>* find(const Parameter<Scalar>& weight) const {
    const auto entry = packed_.find(&weight);
    return entry == packed_.end() ? nullptr : &entry->second;
  }

 private:
  std::unordered_map<const Parameter<Scalar>*, PackedWeight<Scalar>> packed_;
};

}  // namespace eigenformer::inline EIGENFORMER_ABI
