// Position-wise feed-forward network of a Transformer block.
#pragma once

#include "eigenformer/core/detail/compiled.hpp"
#include "eigenformer/layers/dropout.hpp"
#include "eigenformer/layers/linear.hpp"
#include "eigenformer/ops/activations.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// Computes linear2(dropout(activation(linear1(x)))). With ReLU and no dropout, this is equation 2 of Vaswani et al.
/// 2017. x: [tokens x width] -> [tokens x width].
template <class Scalar>
struct FeedForward {
  Linear<Scalar> linear1;  // width -> dim_feedforward
  Linear<Scalar> linear2;  // dim_feedforward -> width
  Activation activation = Activation::relu;
  Dropout<Scalar> dropout;

  FeedForward() = default;
  /// Throws unless width and dim_feedforward are at least 1, and dropout_rate is at least 0 and less than 1.
  FeedForward(Index width, Index dim_feedforward, Activation chosen, double dropout_rate, bool bias, Rng& rng);

  Variable<Scalar> operator()(const Context<Scalar>& context, const Variable<Scalar>& x) const;

  static void visit(auto& self, auto&& visitor) {
    visitor("linear1", self.linear1);
    visitor("linear2", self.linear2);
  }
};

template <class Scalar>
FeedForward<Scalar>::FeedForward(Index width, Index dim_feedforward, Activation chosen, double dropout_rate, bool bias,
                                 Rng& rng)
    : linear1(width, dim_feedforward, rng, bias),
      linear2(dim_feedforward, width, rng, bias),
      activation(chosen),
      dropout{dropout_rate} {
  check(width >= 1 && dim_feedforward >= 1, "FeedForward: width is ", width, ", dim_feedforward is ", dim_feedforward,
        ", expected 1 or more");
  check(dropout_rate >= 0 && dropout_rate < 1, "FeedForward: dropout_rate is ", dropout_rate,
        ", expected 0 or more and less than 1");
}

template <class Scalar>
Variable<Scalar> FeedForward<Scalar>::operator()(const Context<Scalar>& context, const Variable<Scalar>& x) const {
  return linear2(context, dropout(context, activated_linear(context, activation, x, linear1.weight, linear1.bias)));
}

EIGENFORMER_TEMPLATE(struct FeedForward);

}  // namespace eigenformer::inline EIGENFORMER_ABI
