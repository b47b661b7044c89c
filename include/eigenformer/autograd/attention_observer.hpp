// How attention layers tell what they attend to.
#pragma once

#include "eigenformer/core/tensor.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// Is told the weights of every attention layer that is called with it in the context. AttentionRecorder keeps them; a
/// class of your own may print or sum them instead.
template <class Scalar>
class AttentionObserver {
 public:
  AttentionObserver() = default;
  AttentionObserver(const AttentionObserver&) = default;
  AttentionObserver& operator=(const AttentionObserver&) = default;
  virtual ~AttentionObserver() = default;

  /// Called by `layer` after each of its calls. weights: [heads x query rows x keys of the longest sequence].
  virtual void record(const void* layer, Tensor<Scalar, 3> weights) = 0;
};

}  // namespace eigenformer::inline EIGENFORMER_ABI
