// Attention with a learned bias: PyTorch's float attn_mask that requires a gradient.
#pragma once

#include "eigenformer/kernels/scores/dense_bias.hpp"
#include "eigenformer/ops/attention.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// Adds a Variable to the scores of attention. The Variable gets a gradient. For the operation `attention`:
///
///   attention(context, q, k, v, AttentionBias<float>(bias), {.heads = 8});
///   attention(context, q, k, v, AttentionBias<float>(bias, Causal{}), {.heads = 8});
///
/// The bias is one of these:
/// - [query rows x keys] or [heads x query rows x keys]. Query rows are counted over the whole batch. heads may be 1.
/// - [batch x heads x queries x keys]. Queries are counted within their sequence. A dimension of size 1 is repeated,
///   and the gradient is summed over it: see DenseBias.
///
/// An entry of -inf hides the key. Its gradient is 0.
template <class Scalar>
class AttentionBias : public VariableScore<Scalar> {
 public:
  /// other: a score to combine with the bias, such as a mask. Throws if the rank of the bias is not 2 to 4.
  explicit AttentionBias(const Variable<Scalar>& bias, const VariableScore<Scalar>& other = {})
      : VariableScore<Scalar>(alone(bias).combined_with(other)) {}

 private:
  static VariableScore<Scalar> alone(const Variable<Scalar>& bias) {
    DenseBias<Scalar>(bias.tensor());  // throws for another rank
    return VariableScore<Scalar>({ScoreInput<Scalar>{bias}}, [bias](std::span<const TensorView<Scalar>> gradients) {
      const bool wanted = !gradients.empty() && gradients[0].data() != nullptr;
      return AnyScore<Scalar>(DenseBias<Scalar>(
          bias.tensor(), wanted ? TensorView<Scalar>(gradients[0].data(), bias.sizes()) : TensorView<Scalar>()));
    });
  }
};

}  // namespace eigenformer::inline EIGENFORMER_ABI
