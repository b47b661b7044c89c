// Attention with a learned bias: PyTorch's float attn_mask that requires a gradient.
#pragma once

#include "eigenformer/kernels/scores/dense_bias.hpp"
#include "eigenformer/ops/attention.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// A Variable that is added to the scores of attention, and that gets a gradient. The score of the operation
/// `attention`:
///
///   attention(context, q, k, v, AttentionBias<float>(bias), {.heads = 8});
///   attention(context, q, k, v, AttentionBias<float>(bias, Causal{}), {.heads = 8});
///
/// The bias is one of these:
/// - [query rows x keys] or [heads x query rows x keys], where rows are those of the batch and heads may be 1, for all;
/// - [batch x heads x queries x keys], where queries are counted within their sequence. A dimension of size 1 is
///   repeated, and the gradient is summed over it: see DenseBias.
///
/// A bias of -inf hides the key. Its gradient is 0.
template <class Scalar>
class AttentionBias {
 public:
  /// other: a score that is applied too, such as a mask. Throws if the rank of the bias is not 2 to 4.
  explicit AttentionBias(Variable<Scalar> bias, const AnyScore<Scalar>& other = {})
      : bias_(std::move(bias)), other_(other) {
    DenseBias<Scalar>(bias_.tensor());  // throws for another rank
  }

  /// The bias, which gets the gradient.
  const Variable<Scalar>& numbers() const { return bias_; }

  /// Returns the score. It refers to numbers(), which must outlive it.
  /// d_numbers: an array of the shape of numbers(), to which the score's backward adds their gradient; null for none.
  AnyScore<Scalar> score(Scalar* d_numbers = nullptr) const {
    const TensorView<Scalar> d_bias =
        d_numbers == nullptr ? TensorView<Scalar>() : TensorView<Scalar>(d_numbers, bias_.sizes());
    return AnyScore<Scalar>(DenseBias<Scalar>(bias_.tensor(), d_bias)).combined_with(other_);
  }

 private:
  Variable<Scalar> bias_;
  AnyScore<Scalar> other_;
};

}  // namespace eigenformer::inline EIGENFORMER_ABI
