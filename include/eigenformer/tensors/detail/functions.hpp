// Functions of entries where Eigen's are wrong at the ends of the range.
#pragma once

#include <cmath>
#include <limits>

#include "eigenformer/core/types.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

/// e^x. Where the result would be subnormal it is 0: Eigen 3.4's packets return the smallest normal number for all x
/// below, even for minus infinity.
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

/// The square root. Eigen 3.4's packets of float return NaN for infinity.
template <class Scalar>
struct SquareRoot {
  EIGEN_STRONG_INLINE Scalar operator()(Scalar x) const { return std::sqrt(x); }
  template <class Packet>
  EIGEN_STRONG_INLINE Packet packetOp(const Packet& x) const {
    using namespace Eigen::internal;
    return pselect(pcmp_eq(x, pset1<Packet>(std::numeric_limits<Scalar>::infinity())), x, psqrt(x));
  }
};

/// Returns the expression e^x of an Eigen array. 16-bit entries are computed as float.
template <class X>
auto exponential(const X& x) {
  using Scalar = typename X::Scalar;
  using Compute = ComputeType<Scalar>;
  if constexpr (std::is_floating_point_v<Compute>)
    return x.template cast<Compute>().unaryExpr(Exponential<Compute>()).template cast<Scalar>();
  else
    return x.exp();
}
/// Returns the expression sqrt(x) of an Eigen array. 16-bit entries are computed as float.
template <class X>
auto square_root(const X& x) {
  using Scalar = typename X::Scalar;
  using Compute = ComputeType<Scalar>;
  if constexpr (std::is_floating_point_v<Compute>)
    return x.template cast<Compute>().unaryExpr(SquareRoot<Compute>()).template cast<Scalar>();
  else
    return x.sqrt();
}

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail

/// Tells Eigen that these functions take packets, and what they cost.
template <class Scalar>
struct Eigen::internal::functor_traits<eigenformer::detail::Exponential<Scalar>>
    : Eigen::internal::functor_traits<Eigen::internal::scalar_exp_op<Scalar>> {};
template <class Scalar>
struct Eigen::internal::functor_traits<eigenformer::detail::SquareRoot<Scalar>>
    : Eigen::internal::functor_traits<Eigen::internal::scalar_sqrt_op<Scalar>> {};
