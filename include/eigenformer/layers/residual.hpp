// Residual connection around a sub-layer of a Transformer block.
#pragma once

#include "eigenformer/layers/dropout.hpp"
#include "eigenformer/layers/norms.hpp"
#include "eigenformer/ops/arithmetic.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// Computes norm(x + dropout(f(x))), as in Vaswani et al. 2017, section 3.1. With norm_first, computes
/// x + dropout(f(norm(x))), which trains stably without warm-up (Xiong et al. 2020, arXiv 2002.04745). One connection
/// serves all sub-layers of a block; each sub-layer passes its own norm.
template <class Scalar>
struct ResidualConnection {
  Dropout<Scalar> dropout{};
  bool norm_first = false;
  bool enabled = true;  // false omits x from the sum: norm(dropout(f(x))), or dropout(f(norm(x)))

  /// Applies the sub-layer f within the connection. f maps a Variable to a Variable of the same shape.
  template <class SubLayer>
  Variable<Scalar> operator()(const Context<Scalar>& context, const Variable<Scalar>& x, const LayerNorm<Scalar>& norm,
                              SubLayer&& f) const {
    if (!enabled) return norm_first ? dropout(context, f(norm(context, x))) : norm(context, dropout(context, f(x)));
    if (norm_first) return add(context, x, dropout(context, f(norm(context, x))));
    return norm.of_sum(context, x, dropout(context, f(x)));
  }
};

}  // namespace eigenformer::inline EIGENFORMER_ABI
