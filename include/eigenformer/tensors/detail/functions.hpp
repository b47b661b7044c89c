// Functions of entries where Eigen's are wrong at the ends of the range.
#pragma once

#include <cmath>
#include <cstdint>
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

/// 2 to an even power that makes every subnormal number normal.
template <class Scalar>
inline constexpr int subnormal_exponent = std::numeric_limits<Scalar>::digits / 2 * 2 + 2;
template <class Scalar>
inline constexpr Scalar subnormal_scale = Scalar(std::uint64_t(1) << subnormal_exponent<Scalar>);

/// The square root. Eigen 3.4's packets of float return NaN for infinity, 0 for positive and infinity for negative
/// subnormal numbers.
template <class Scalar>
struct SquareRoot {
  EIGEN_STRONG_INLINE Scalar operator()(Scalar x) const { return std::sqrt(x); }
  template <class Packet>
  EIGEN_STRONG_INLINE Packet packetOp(const Packet& x) const {
    using namespace Eigen::internal;
    constexpr Scalar root_scale = Scalar(std::uint64_t(1) << subnormal_exponent<Scalar> / 2);
    const Packet is_small = pcmp_lt(pabs(x), pset1<Packet>((std::numeric_limits<Scalar>::min)()));
    const Packet root = psqrt(pselect(is_small, pmul(x, pset1<Packet>(subnormal_scale<Scalar>)), x));
    return pselect(pcmp_eq(x, pset1<Packet>(std::numeric_limits<Scalar>::infinity())), x,
                   pselect(is_small, pmul(root, pset1<Packet>(1 / root_scale)), root));
  }
};

/// The natural logarithm. Eigen 3.4's packets return the logarithm of the smallest normal number for subnormal ones.
template <class Scalar>
struct Logarithm {
  EIGEN_STRONG_INLINE Scalar operator()(Scalar x) const { return std::log(x); }
  template <class Packet>
  EIGEN_STRONG_INLINE Packet packetOp(const Packet& x) const {
    using namespace Eigen::internal;
    constexpr Scalar log_scale = Scalar(subnormal_exponent<Scalar> * 0.69314718055994530942);
    const Packet is_small = pcmp_lt(x, pset1<Packet>((std::numeric_limits<Scalar>::min)()));
    const Packet log = plog(pselect(is_small, pmul(x, pset1<Packet>(subnormal_scale<Scalar>)), x));
    return pselect(is_small, psub(log, pset1<Packet>(log_scale)), log);
  }
};

/// Returns the expression Function<T>(x) of an Eigen array. 16-bit entries are computed as float.
template <template <class> class Function, class X>
auto computed(const X& x) {
  using Scalar = typename X::Scalar;
  using Compute = ComputeType<Scalar>;
  return x.template cast<Compute>().unaryExpr(Function<Compute>()).template cast<Scalar>();
}

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail

/// Tells Eigen that these functions take packets, and what they cost.
template <class Scalar>
struct Eigen::internal::functor_traits<eigenformer::detail::Exponential<Scalar>>
    : Eigen::internal::functor_traits<Eigen::internal::scalar_exp_op<Scalar>> {};
template <class Scalar>
struct Eigen::internal::functor_traits<eigenformer::detail::SquareRoot<Scalar>>
    : Eigen::internal::functor_traits<Eigen::internal::scalar_sqrt_op<Scalar>> {};
template <class Scalar>
struct Eigen::internal::functor_traits<eigenformer::detail::Logarithm<Scalar>>
    : Eigen::internal::functor_traits<Eigen::internal::scalar_log_op<Scalar>> {};
