// Random initialisation of weights.
#pragma once

#include <cmath>

#include "eigenformer/autograd/parameter.hpp"
#include "eigenformer/core/rng.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// Returns a weight [outputs x taps * inputs], uniform in +-sqrt(6 / (taps * (inputs + outputs))).
///
/// This is Xavier initialisation (Glorot and Bengio 2010, equation 16). It roughly preserves the variance of
/// activations and gradients through a linear layer. For a convolution, `taps` is the kernel size: each input and
/// output counts once per tap.
template <class Scalar>
Parameter<Scalar> xavier_uniform(Index outputs, Index inputs, Rng& rng, Index taps = 1) {
  Parameter<Scalar> weight(outputs, taps * inputs);
  const double limit = std::sqrt(6.0 / static_cast<double>(taps * (inputs + outputs)));
  for (Index i = 0; i < weight.size(); ++i) weight.value.data()[i] = static_cast<Scalar>(rng.uniform(-limit, limit));
  return weight;
}

/// Returns a parameter [rows x cols] of normal numbers with mean 0 and the given standard deviation.
template <class Scalar>
Parameter<Scalar> normal(Index rows, Index cols, double deviation, Rng& rng) {
  Parameter<Scalar> weight(rows, cols);
  for (Index i = 0; i < weight.size(); ++i) weight.value.data()[i] = static_cast<Scalar>(deviation * rng.normal());
  return weight;
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
