// The interface through which attention layers report their weights.
#pragma once

#include "eigenformer/core/tensor.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// Receives the weights of attention layers. Set Context::attention to an observer; attention layers called with that
/// context then report to it. Only MultiHeadAttention::attend_to_cache has an observer of its own. AttentionRecorder
/// stores the weights; your own class may print or sum them instead.
template <class Scalar>
class AttentionObserver {
 public:
  AttentionObserver() = default;
  AttentionObserver(const AttentionObserver&) = default;
  AttentionObserver& operator=(const AttentionObserver&) = default;
  virtual ~AttentionObserver() = default;

  /// Called by an attention layer during each of its calls.
  /// layer: the address of the calling layer.
  /// weights: [heads x query rows x keys of the longest sequence].
  virtual void record(const void* layer, Tensor<Scalar> weights) = 0;
};

}  // namespace eigenformer::inline EIGENFORMER_ABI
