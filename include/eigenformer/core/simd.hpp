// Vector registers, by Eigen's packets: whatever Eigen vectorises is served, on every compiler.
#pragma once

#include <type_traits>
#include <utility>

#include "eigenformer/core/types.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::simd {

/// A register's worth of scalars; the scalar itself where Eigen does not vectorise it.
template <class Scalar>
using Packet = typename Eigen::internal::packet_traits<Scalar>::type;

/// Scalars in a packet.
template <class Scalar>
inline constexpr int lanes = Eigen::internal::unpacket_traits<Packet<Scalar>>::size;

/// Registers that the machine has for packets.
inline constexpr int registers = EIGEN_ARCH_DEFAULT_NUMBER_OF_REGISTERS;

template <class Scalar>
EIGEN_ALWAYS_INLINE Packet<Scalar> load(const Scalar* from) {
  return Eigen::internal::ploadu<Packet<Scalar>>(from);
}
template <class Scalar>
EIGEN_ALWAYS_INLINE void store(Scalar* to, const Packet<Scalar>& packet) {
  Eigen::internal::pstoreu(to, packet);
}
template <class Scalar>
EIGEN_ALWAYS_INLINE Packet<Scalar> broadcast(const Scalar& value) {
  return Eigen::internal::pset1<Packet<Scalar>>(value);
}
/// a b + c.
template <class P>
EIGEN_ALWAYS_INLINE P multiply_add(const P& a, const P& b, const P& c) {
  return Eigen::internal::pmadd(a, b, c);
}

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wignored-attributes"  // of a vector type as a template argument: of no consequence
#endif
/// Transposes a square of scalars: row i is from[i * from_stride ..], column i goes to to[i * to_stride ..].
template <class Scalar>
EIGEN_ALWAYS_INLINE void transpose(const Scalar* from, Index from_stride, Scalar* to, Index to_stride) {
  Eigen::internal::PacketBlock<Packet<Scalar>, lanes<Scalar>> square;
  for (int i = 0; i < lanes<Scalar>; ++i) square.packet[i] = load(from + i * from_stride);
  Eigen::internal::ptranspose(square);
  for (int i = 0; i < lanes<Scalar>; ++i) store(to + i * to_stride, square.packet[i]);
}
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

/// Calls body(integral_constant<int, 0>) .. body(integral_constant<int, count - 1>). By construction and not by an
/// optimiser's choice: arrays that are indexed so stay in registers at -O2 too.
template <int count, class Body>
EIGEN_ALWAYS_INLINE void unroll(Body&& body) {
  [&]<int... i>(std::integer_sequence<int, i...>) {
    (body(std::integral_constant<int, i>{}), ...);
  }
  (std::make_integer_sequence<int, count>{});
}

}  // namespace eigenformer::inline EIGENFORMER_ABI::simd
