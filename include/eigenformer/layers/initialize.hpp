// How weights begin.
#pragma once

#include <cmath>

#include "eigenformer/autograd/parameter.hpp"
#include "eigenformer/core/rng.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// A weight [outputs x inputs], uniform in +-sqrt(6 / (inputs + outputs)), which keeps the variance of activations and
/// of gradients about the same through a linear layer (Glorot and Bengio 2010, equation 16; "Xavier"). With the taps of
/// a convolution, each input and each output counts once a tap: [outputs x taps * inputs].
template <class Scalar>
Parameter<Scalar> xavier_uniform(Index outputs, Index inputs, Rng& rng, Index taps = 1) {
  Parameter<Scalar> weight(outputs, taps * inputs);
  const double limit = std::sqrt(6.0 / static_cast<double>(taps * (inputs + outputs)));
  for (Index i = 0; i < weight.size(); ++i) weight.value.data()[i] = static_cast<Scalar>(rng.uniform(-limit, limit));
  return weight;
}

/// A [rows x cols] of normal numbers with this standard deviation.
template <class Scalar>
Parameter<Scalar> normal(Index rows, Index cols, double deviation, Rng& rng) {
  Parameter<Scalar> weight(rows, cols);
  for (Index i = 0; i < weight.size(); ++i) weight.value.data()[i] = static_cast<Scalar>(deviation * rng.normal());
  return weight;
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
