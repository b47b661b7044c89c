// Asks an attention layer for the weights of one head, with their gradient.
#pragma once

#include "eigenformer/autograd/variable.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// Receives the attention weights of one head as a Variable, for a loss on the weights. If Context::head_weights points
/// to it, the layer that it names computes the weights besides its result. To look at weights without their gradient,
/// AttentionObserver is cheaper.
///
///   HeadWeights<float> head{.layer = &model.decoder.layers[4].multihead_attn, .head = 0};
///   training.head_weights = &head;
///   Variable<float> logits = model(training, source, target);
///   Variable<float> loss = alignment_loss(training, head.weights, labels);
template <class Scalar>
struct HeadWeights {
  const void* layer = nullptr;  // the address of the attention layer
  Index head = 0;               // of the layer, from 0
  Index width = 0;              // columns of the weights; 0: as many as the longest sequence has keys
  /// [queries x width], from the layer's last call. Column j is the weight of key j of the query's sequence. Dropout is
  /// not applied. Empty before the first call. If a step does not call the layer, the weights of an earlier step
  /// remain. attend_to_cache does not write it.
  Variable<Scalar> weights{};
};

}  // namespace eigenformer::inline EIGENFORMER_ABI
