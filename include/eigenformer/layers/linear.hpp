// Linear layer with a bias.
#pragma once

#include "eigenformer/core/detail/compiled.hpp"
#include "eigenformer/layers/initialize.hpp"
#include "eigenformer/ops/matmul.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// Computes y = x weight^T + bias. x: [tokens x inputs] -> [tokens x outputs]. Like torch.nn.Linear, but the weight is
/// initialised by Xavier's rule and the bias by zeros.
template <class Scalar>
struct Linear {
  Parameter<Scalar> weight;  // [outputs x inputs]
  Parameter<Scalar> bias;    // [1 x outputs], or empty

  Linear() = default;
  /// Throws if inputs or outputs is negative.
  Linear(Index inputs, Index outputs, Rng& rng, bool with_bias = true);

  bool empty() const { return weight.empty(); }
  Index inputs() const { return weight.value.cols(); }
  Index outputs() const { return weight.value.rows(); }

  Variable<Scalar> operator()(const Context<Scalar>& context, const Variable<Scalar>& x) const;

  static void visit(auto& self, auto&& visitor) {
    visitor("weight", self.weight);
    visitor("bias", self.bias);
  }
};

template <class Scalar>
Linear<Scalar>::Linear(Index inputs, Index outputs, Rng& rng, bool with_bias) {
  check(inputs >= 0 && outputs >= 0, "Linear: inputs are ", inputs, ", outputs ", outputs, ", expected 0 or more");
  weight = xavier_uniform<Scalar>(outputs, inputs, rng);
  if (with_bias) bias = Parameter<Scalar>(1, outputs);
}

template <class Scalar>
Variable<Scalar> Linear<Scalar>::operator()(const Context<Scalar>& context, const Variable<Scalar>& x) const {
  return linear(context, x, weight, bias);
}

EIGENFORMER_TEMPLATE(struct Linear);

}  // namespace eigenformer::inline EIGENFORMER_ABI
