// The connection around a sub-layer of a Transformer block.
#pragma once

#include "eigenformer/layers/dropout.hpp"
#include "eigenformer/layers/norms.hpp"
#include "eigenformer/ops/arithmetic.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// norm(x + dropout(f(x))), as in Vaswani et al. 2017, section 3.1; with norm_first x + dropout(f(norm(x))), which
/// trains stably without a warm-up (Xiong et al. 2020, arXiv 2002.04745). If not connected, x is left out of the sum.
template <class Scalar, class SubLayer>
Variable<Scalar> residual(const Context<Scalar>& context, const Variable<Scalar>& x, const LayerNorm<Scalar>& norm,
                          bool norm_first, const Dropout<Scalar>& dropout, SubLayer&& f, bool connected = true) {
  if (!connected) return norm_first ? dropout(context, f(norm(context, x))) : norm(context, dropout(context, f(x)));
  if (norm_first) return add(context, x, dropout(context, f(norm(context, x))));
  return norm.of_sum(context, x, dropout(context, f(x)));
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
