// Functions of entries where Eigen's are wrong at the ends of the range.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>

#include "eigenformer/core/detail/exponential.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

/// 2 to an even power that makes every subnormal number normal.
template <class Scalar>
inline constexpr int subnormal_exponent = std::numeric_limits<Scalar>::digits / 2 * 2 + 2;
template <class Scalar>
inline constexpr Scalar subnormal_scale = Scalar(std::uint64_t(1) << subnormal_exponent<Scalar>);

/// The square root. Eigen 3.4's packets of float return NaN for infinity, 0 for -0 and positive subnormal numbers, and
/// infinity for negative ones.
template <class Scalar>
struct SquareRoot {
  EIGEN_STRONG_INLINE Scalar operator()(Scalar x) const { return std::sqrt(x); }
  template <class Packet>
  EIGEN_STRONG_INLINE Packet packetOp(const Packet& x) const {
    using namespace Eigen::internal;
    constexpr Scalar root_scale = Scalar(std::uint64_t(1) << subnormal_exponent<Scalar> / 2);
    const Packet is_small = pcmp_lt(pabs(x), pset1<Packet>((std::numeric_limits<Scalar>::min)()));
    const Packet root = psqrt(pselect(is_small, pmul(x, pset1<Packet>(subnormal_scale<Scalar>)), x));
    const Packet is_itself =
        por(pcmp_eq(x, pset1<Packet>(std::numeric_limits<Scalar>::infinity())), pcmp_eq(x, pzero(x)));
    return pselect(is_itself, x, pselect(is_small, pmul(root, pset1<Packet>(1 / root_scale)), root));
  }
};

/// e^x - 1. Eigen 3.4's packets overflow as early as those of e^x.
template <class Scalar>
struct ExponentialMinusOne {
  EIGEN_STRONG_INLINE Scalar operator()(Scalar x) const { return std::expm1(x); }
  template <class Packet>
  EIGEN_STRONG_INLINE Packet packetOp(const Packet& x) const {
    using namespace Eigen::internal;
    if constexpr (overflows_early<Packet>)
      return pselect(pcmp_lt(pset1<Packet>(Scalar(88)), x), FullExponential<Scalar>().packetOp(x), pexpm1(x));
    else
      return pexpm1(x);
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

/// The logistic function. Eigen 3.4's packets of float have relative errors of 1e-4, and never return 0.
template <class Scalar>
struct LogisticFunction {
  EIGEN_STRONG_INLINE Scalar operator()(Scalar x) const {
    const Scalar e = Exponential<Scalar>()(-std::abs(x));  // cannot overflow
    return (x < 0 ? e : Scalar(1)) / (Scalar(1) + e);
  }
  template <class Packet>
  EIGEN_STRONG_INLINE Packet packetOp(const Packet& x) const {
    using namespace Eigen::internal;
    const Packet one = pset1<Packet>(Scalar(1));
    const Packet e = Exponential<Scalar>().packetOp(pnegate(pabs(x)));
    return pdiv(pselect(pcmp_lt(x, pzero(x)), e, one), padd(one, e));
  }
};

/// How the sign of x turns |x|^y into x^y.
enum class PowerSign {
  even,       // y is an even integer or infinite: x^y = |x|^y
  odd,        // y is an odd integer: x^y has the sign of x
  fractional  // x^y is NaN for negative x
};

/// Returns x^y from x and |x|^y. Eigen 3.4's packets lose the sign of infinity, 0 and subnormal numbers.
template <class Scalar>
struct SignedPower {
  PowerSign sign;

  explicit SignedPower(Scalar y)
      : sign(std::isinf(y)                  ? PowerSign::even
             : std::fmod(y, Scalar(2)) == 0 ? PowerSign::even
             : std::trunc(y) == y           ? PowerSign::odd
                                            : PowerSign::fractional) {}
  EIGEN_STRONG_INLINE Scalar operator()(Scalar x, Scalar power) const {
    if (sign == PowerSign::odd) return std::copysign(power, x);
    const bool is_negative = x < 0 && x >= std::numeric_limits<Scalar>::lowest();
    return sign == PowerSign::fractional && is_negative ? std::numeric_limits<Scalar>::quiet_NaN() : power;
  }
  template <class Packet>
  EIGEN_STRONG_INLINE Packet packetOp(const Packet& x, const Packet& power) const {
    using namespace Eigen::internal;
    if (sign == PowerSign::even) return power;
    if (sign == PowerSign::odd) return por(power, pand(x, pset1<Packet>(Scalar(-0.0))));
    const Packet is_negative =
        pand(pcmp_lt(x, pzero(x)), pcmp_le(pset1<Packet>(std::numeric_limits<Scalar>::lowest()), x));
    return pselect(is_negative, pset1<Packet>(std::numeric_limits<Scalar>::quiet_NaN()), power);
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
struct Eigen::internal::functor_traits<eigenformer::detail::SquareRoot<Scalar>>
    : Eigen::internal::functor_traits<Eigen::internal::scalar_sqrt_op<Scalar>> {};
template <class Scalar>
struct Eigen::internal::functor_traits<eigenformer::detail::ExponentialMinusOne<Scalar>>
    : Eigen::internal::functor_traits<Eigen::internal::scalar_expm1_op<Scalar>> {};
template <class Scalar>
struct Eigen::internal::functor_traits<eigenformer::detail::Logarithm<Scalar>>
    : Eigen::internal::functor_traits<Eigen::internal::scalar_log_op<Scalar>> {};
template <class Scalar>
struct Eigen::internal::functor_traits<eigenformer::detail::LogisticFunction<Scalar>>
    : Eigen::internal::functor_traits<Eigen::internal::scalar_logistic_op<Scalar>> {};
template <class Scalar>
struct Eigen::internal::functor_traits<eigenformer::detail::SignedPower<Scalar>> {
  enum {
    Cost = NumTraits<Scalar>::AddCost,
    PacketAccess = packet_traits<Scalar>::HasCmp && packet_traits<Scalar>::HasAbs
  };
};
