// Runs of entries as Eigen arrays: what element-wise functions and reductions of tensors compute with.
#pragma once

#include <limits>
#include <utility>

#include "eigenformer/core/detail/strided_loop.hpp"
#include "eigenformer/core/tensor.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

/// Where a run of entries begins in each operand, the distances between its entries, and their number.
template <std::size_t operands>
struct Run {
  std::array<Index, operands> offsets{};
  std::array<Index, operands> strides{};
  Index size = 0;

  /// Returns the part of the run from entry `first` on.
  Run part(Index first, Index count) const {
    Run run{offsets, strides, count};
    for (std::size_t k = 0; k < operands; ++k) run.offsets[k] += first * strides[k];
    return run;
  }
};

template <class Scalar>
using RunArray = Eigen::Array<Scalar, Eigen::Dynamic, 1>;

/// Reads entries with any stride. The stride is tested per packet rather than in the type, so that an expression is
/// compiled once. The branch predictor makes that cheap.
template <class Scalar>
struct RunReader {
  RunReader(const Scalar* first, Index distance) : data(first), stride(distance) {}

  const Scalar* data;
  Index stride;

  EIGEN_STRONG_INLINE Scalar operator()(Index i) const { return data[i * stride]; }
  template <class Packet>
  EIGEN_STRONG_INLINE Packet packetOp(Index i) const {
    if (stride == 1) [[likely]]
      return Eigen::internal::ploadu<Packet>(data + i);
    if (stride == 0) [[likely]]
      return Eigen::internal::pset1<Packet>(*data);
    return gathered<Packet>(data + i * stride, stride);
  }

 private:
  // Not inlined, so that the loop over packets stays short and compilers test the stride once, before the loop.
  template <class Packet>
  static EIGEN_DONT_INLINE Packet gathered(const Scalar* from, Index stride) {
    constexpr int size = Eigen::internal::unpacket_traits<Packet>::size;
    alignas(64) Scalar entries[static_cast<std::size_t>(size)];
    for (int k = 0; k < size; ++k) entries[k] = from[k * stride];
    return Eigen::internal::ploadu<Packet>(entries);
  }
};

/// Returns the entries of a run as an Eigen array, which refers to them.
template <class Scalar>
auto run_entries(const Scalar* data, Index stride, Index size) {
  return RunArray<Scalar>::NullaryExpr(size, RunReader<Scalar>(data, stride));
}

/// Returns a number as Scalar. A number with a fraction does not become an integer silently. Throws if Scalar is an
/// integer type that cannot hold the integer `number`.
template <class Scalar, class Number>
Scalar converted_number(const Number& number) {
  static_assert(!std::is_integral_v<Scalar> || std::is_integral_v<Number>,
                "a tensor of integers and a number with a fraction: write cast<float>() of the tensor");
  if constexpr (std::is_integral_v<Scalar> && std::is_integral_v<Number>) {
    constexpr auto lowest = +(std::numeric_limits<Scalar>::lowest)(), highest = +(std::numeric_limits<Scalar>::max)();
    check(std::cmp_greater_equal(+number, lowest) && std::cmp_less_equal(+number, highest),
          "a tensor of integers from ", lowest, " to ", highest, " and the number ", number);
  }
  return static_cast<Scalar>(number);
}

/// Throws if integers of type Scalar are divided by a number that is 0, or becomes 0 in their type. On x86, such a
/// division would end the program.
template <class Scalar, class Divisor>
void check_divisor([[maybe_unused]] const Divisor& divisor) {
  if constexpr (std::is_integral_v<Scalar> && std::is_integral_v<Divisor>)
    check(static_cast<Scalar>(divisor) != Scalar(0), "a tensor of integers divided by ", divisor);
}

/// Returns the loop over the entries of a target and of an operand's leaves, which are broadcast to the shape. The
/// target is number 0; its strides are given.
template <class Operand>
auto loop_over(const Operand& operand, const Sizes& shape, const Sizes& target_strides, std::size_t leader) {
  std::array<Sizes, 1 + Operand::leaves> strides;
  strides[0] = target_strides;
  std::size_t k = 1;
  operand.for_each_leaf([&](const auto& leaf) { strides[k++] = leaf.expand(shape).strides(); });
  return StridedLoop<1 + Operand::leaves>(shape, strides, leader);
}

/// Calls body(run) for each run of a loop.
template <std::size_t operands, class Body>
void for_each_run(const StridedLoop<operands>& loop, Body body) {
  Run<operands> run;
  run.size = loop.run_size();
  for (std::size_t k = 0; k < operands; ++k) run.strides[k] = loop.run_stride(k);
  loop.for_each_run([&](const auto& offsets) {
    run.offsets = offsets;
    body(std::as_const(run));
  });
}

/// Computes an operand, broadcast to the shape of `to`, and writes it there. The memory may overlap. Throws if the
/// shapes do not fit, or if `to` repeats entries.
template <class Operand, class Scalar>
void write_entries(const Operand& operand, const TensorView<Scalar>& to) {
  check_writable(to);
  bool conflicts = false;
  operand.for_each_leaf([&](const auto& leaf) {
    conflicts = conflicts || interferes(leaf.expand(broadcast_shapes(leaf.shape(), to.shape())), to);
  });
  if (conflicts) {
    const Tensor<Scalar> result = [&] {
      Tensor<Scalar> computed = Tensor<Scalar>::uninitialized(operand.shape());
      write_entries(operand, computed.view());
      return computed;
    }();
    return result.copy_to(to);
  }
  for_each_run(loop_over(operand, to.shape(), to.strides(), 0), [&](const auto& run) {
    const auto entries = operand.template entries<1>(run);
    if (run.strides[0] == 1)
      Eigen::Map<RunArray<Scalar>>(to.data() + run.offsets[0], run.size) = entries;
    else
      Eigen::Map<RunArray<Scalar>, Eigen::Unaligned, Eigen::InnerStride<Eigen::Dynamic>>(
          to.data() + run.offsets[0], run.size, Eigen::InnerStride<Eigen::Dynamic>(run.strides[0])) = entries;
  });
}

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail

/// Tells Eigen that RunReader reads packets.
template <class Scalar>
struct Eigen::internal::functor_traits<eigenformer::detail::RunReader<Scalar>> {
  enum { Cost = NumTraits<Scalar>::ReadCost, PacketAccess = packet_traits<Scalar>::Vectorizable, IsRepeatable = true };
};
