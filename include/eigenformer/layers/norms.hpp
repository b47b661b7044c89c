// Normalisation layers over the features of each token.
#pragma once

#include "eigenformer/autograd/parameter.hpp"
#include "eigenformer/core/detail/compiled.hpp"
#include "eigenformer/ops/norms.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// Layer normalisation (Ba et al. 2016, arXiv 1607.06450). Brings each row to mean 0 and variance 1, then applies gain
/// and bias. Like torch.nn.LayerNorm over the last dimension; `weight` is the gain.
template <class Scalar>
struct LayerNorm {
  Parameter<Scalar> weight;  // [1 x features]
  Parameter<Scalar> bias;    // [1 x features], or empty
  double epsilon = 1e-5;     // added to the variance

  LayerNorm() = default;
  /// Throws if features is negative.
  explicit LayerNorm(Index features, double layer_norm_eps = 1e-5, bool with_bias = true) : epsilon(layer_norm_eps) {
    check(features >= 0, "LayerNorm: features are ", features, ", expected 0 or more");
    weight = Parameter<Scalar>(1, features);
    if (with_bias) bias = Parameter<Scalar>(1, features);
    weight.value.setOnes();
  }

  bool empty() const { return weight.empty(); }

  /// Normalises each row. x: [tokens x features] -> [tokens x features].
  Variable<Scalar> operator()(const Context<Scalar>& context, const Variable<Scalar>& x) const;
  /// Normalises each row of a + b. a, b: [tokens x features] -> [tokens x features].
  Variable<Scalar> of_sum(const Context<Scalar>& context, const Variable<Scalar>& a, const Variable<Scalar>& b) const;

  static void visit(auto& self, auto&& visitor) {
    visitor("weight", self.weight);
    visitor("bias", self.bias);
  }

 private:
  // Returns the bias, or zeros without a gradient.
  Variable<Scalar> bias_or_zeros(const Context<Scalar>& context) const;
};

/// Root mean square normalisation (Zhang and Sennrich 2019, arXiv 1910.07467). Divides each row by its root mean
/// square, then applies a gain. Unlike LayerNorm, it neither subtracts the mean nor adds a bias.
template <class Scalar>
struct RmsNorm {
  Parameter<Scalar> weight;  // [1 x features]
  double epsilon = 1e-5;     // added to the mean square

  RmsNorm() = default;
  /// Throws if features is negative.
  explicit RmsNorm(Index features, double rms_norm_eps = 1e-5) : epsilon(rms_norm_eps) {
    check(features >= 0, "RmsNorm: features are ", features, ", expected 0 or more");
    weight = Parameter<Scalar>(1, features);
    weight.value.setOnes();
  }

  Variable<Scalar> operator()(const Context<Scalar>& context, const Variable<Scalar>& x) const;

  static void visit(auto& self, auto&& visitor) { visitor("weight", self.weight); }
};

template <class Scalar>
Variable<Scalar> LayerNorm<Scalar>::bias_or_zeros(const Context<Scalar>& context) const {
  if (!bias.empty()) return context.use(bias);
  Variable<Scalar> zeros = context.new_matrix(1, weight.value.cols());
  zeros.writable().setZero();
  return zeros;
}

template <class Scalar>
Variable<Scalar> LayerNorm<Scalar>::operator()(const Context<Scalar>& context, const Variable<Scalar>& x) const {
  return layer_norm(context, x, context.use(weight), bias_or_zeros(context), epsilon);
}

template <class Scalar>
Variable<Scalar> LayerNorm<Scalar>::of_sum(const Context<Scalar>& context, const Variable<Scalar>& a,
                                           const Variable<Scalar>& b) const {
  return add_layer_norm(context, a, b, context.use(weight), bias_or_zeros(context), epsilon);
}

template <class Scalar>
Variable<Scalar> RmsNorm<Scalar>::operator()(const Context<Scalar>& context, const Variable<Scalar>& x) const {
  return rms_norm(context, x, context.use(weight), epsilon);
}

EIGENFORMER_TEMPLATE(struct LayerNorm);
EIGENFORMER_TEMPLATE(struct RmsNorm);

}  // namespace eigenformer::inline EIGENFORMER_ABI
