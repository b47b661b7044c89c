// The exponential function of Eigen arrays, right at the ends of the range.
#pragma once

#include <cmath>

#include "eigenformer/core/types.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

/// e^x for x up to 88, as softmax and activations need it. Where the result would be subnormal it is 0: Eigen 3.4's
/// packets return the smallest normal number there, even for minus infinity.
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

/// Whether Eigen 3.4's packets of this type return infinity for e^x from 127.5 ln(2) = 88.38 on. As a float, e^x is
/// finite up to 88.72.
template <class Packet>
inline constexpr bool overflows_early = sizeof(Packet) == 64 &&
                                        sizeof(typename Eigen::internal::unpacket_traits<Packet>::type) == 4;

/// e^x for any x. Subnormal results are 0.
template <class Scalar>
struct FullExponential {
  EIGEN_STRONG_INLINE Scalar operator()(Scalar x) const { return Exponential<Scalar>()(x); }
  template <class Packet>
  EIGEN_STRONG_INLINE Packet packetOp(const Packet& x) const {
    using namespace Eigen::internal;
    if constexpr (overflows_early<Packet>) {
      const Packet is_large = pcmp_lt(pset1<Packet>(Scalar(88)), x);
      const Packet y = Exponential<Scalar>().packetOp(psub(x, pand(is_large, pset1<Packet>(Scalar(0.5)))));  // exact
      return pselect(is_large, pmul(y, pset1<Packet>(Scalar(1.6487212707001282))), y);
    } else {
      return Exponential<Scalar>().packetOp(x);
    }
  }
};

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail

/// Tells Eigen that the functions take packets, and what they cost.
template <class Scalar>
struct Eigen::internal::functor_traits<eigenformer::detail::Exponential<Scalar>>
    : Eigen::internal::functor_traits<Eigen::internal::scalar_exp_op<Scalar>> {};
template <class Scalar>
struct Eigen::internal::functor_traits<eigenformer::detail::FullExponential<Scalar>>
    : Eigen::internal::functor_traits<Eigen::internal::scalar_exp_op<Scalar>> {};
