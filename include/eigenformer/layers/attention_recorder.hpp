// Records the attention weights of layers, for inspection.
#pragma once

#include <unordered_map>
#include <utility>

#include "eigenformer/autograd/attention_observer.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// Records the weights of attention layers. A layer finds the recorder in the Context of its call:
///
///   AttentionRecorder<float> recorder;
///   model({.attention = &recorder}, source, target);
///   const Tensor<float>& weights = recorder.weights(model.decoder.layers.back().multihead_attn);
template <class Scalar>
class AttentionRecorder final : public AttentionObserver<Scalar> {
 public:
  /// Returns the weights of the layer's last call: [heads x query rows x keys of the longest sequence]. Throws if the
  /// layer was not called with this recorder.
  template <class Layer>
  const Tensor<Scalar>& weights(const Layer& layer) const {
    const auto found = weights_.find(&layer);
    check(found != weights_.end(), "AttentionRecorder: the layer was not called with this recorder");
    return found->second;
  }

  void record(const void* layer, Tensor<Scalar> weights) override {
    weights_.insert_or_assign(layer, std::move(weights));
  }

 private:
  std::unordered_map<const void*, Tensor<Scalar>> weights_;
};

}  // namespace eigenformer::inline EIGENFORMER_ABI
