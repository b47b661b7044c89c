// Random inputs for tests. Every test captures its seed, so that Catch2 prints it on failure.
#pragma once

#include "eigenformer/core/rng.hpp"
#include "eigenformer/core/types.hpp"

namespace eigenformer::testing {

/// Returns a matrix of normal entries times `scale`.
template <class Scalar>
Matrix<Scalar> random_matrix(Index rows, Index cols, Rng& rng, double scale = 1) {
  return Matrix<Scalar>::NullaryExpr(rows, cols, [&] { return static_cast<Scalar>(scale * rng.normal()); });
}

}  // namespace eigenformer::testing
