// The exponential function of Eigen arrays, right at both ends of the range.
#pragma once

#include <cmath>

#include "eigenformer/core/types.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

/// e^x. Where the result would be subnormal it is 0: Eigen 3.4's packets return the smallest normal number there, even
/// for minus infinity.
template <class Scalar>
struct Exponential {
  static constexpr Scalar lowest = sizeof(Scalar) == 4 ? Scalar(-87.33654) : Scalar(-708.39641853226408);

  EIGEN_STRONG_INLINE Scalar operator()(Scalar x) const { return x < lowest ? Scalar(0) : std::exp(x); }
  template <class Packet>
  EIGEN_STRONG_INLINE Packet packetOp(const Packet& x) const {
    using namespace Eigen::internal;
    return pandnot(pexp(x), pcmp_lt(x, pset1<Packet>(lowest)));
  }
};

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail

/// Tells Eigen that the function takes packets, and what it costs.
template <class Scalar>
struct Eigen::internal::functor_traits<eigenformer::detail::Exponential<Scalar>>
    : Eigen::internal::functor_traits<Eigen::internal::scalar_exp_op<Scalar>> {};
