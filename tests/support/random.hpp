// Random inputs for tests. Every test states its seed, and Catch2 prints it with a failure.
#pragma once

#include "eigenformer/core/rng.hpp"
#include "eigenformer/core/types.hpp"

namespace eigenformer::testing {

/// Normal entries times `scale`.
template <class Scalar>
Matrix<Scalar> random_matrix(Index rows, Index cols, Rng& rng, double scale = 1) {
  return Matrix<Scalar>::NullaryExpr(rows, cols, [&] { return static_cast<Scalar>(scale * rng.normal()); });
}

}  // namespace eigenformer::testing
