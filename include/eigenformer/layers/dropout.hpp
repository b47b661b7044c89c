// Dropout layer for activations.
#pragma once

#include "eigenformer/core/detail/compiled.hpp"
#include "eigenformer/ops/dropout.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// Sets each entry to zero with probability `rate` and divides the others by 1 - rate (Srivastava et al. 2014). Without
/// a generator in the context, returns x unchanged: the context, not the layer, selects training or inference.
template <class Scalar>
struct Dropout {
  double rate = 0;

  Variable<Scalar> operator()(const Context<Scalar>& context, const Variable<Scalar>& x) const;
};

template <class Scalar>
Variable<Scalar> Dropout<Scalar>::operator()(const Context<Scalar>& context, const Variable<Scalar>& x) const {
  return dropout(context, x, rate);
}

EIGENFORMER_TEMPLATE(struct Dropout);

}  // namespace eigenformer::inline EIGENFORMER_ABI
