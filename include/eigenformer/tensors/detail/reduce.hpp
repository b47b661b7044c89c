// How entries of tensors are reduced over dimensions: what reductions.hpp is built from.
#pragma once

#include <cstdint>
#include <limits>

#include "eigenformer/tensors/arithmetic.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

/// The type in which integers are summed: unsigned 64-bit integers for these, signed ones for all others.
template <class Scalar>
using IntegerSum = std::conditional_t<std::is_unsigned_v<Scalar> && sizeof(Scalar) == sizeof(std::uint64_t),
                                      std::uint64_t, std::int64_t>;
/// The type in which entries of type Scalar are summed.
template <class Scalar>
using SumType = std::conditional_t<std::is_integral_v<Scalar>, IntegerSum<Scalar>, double>;
/// The type of a sum's result.
template <class Scalar>
using SumResult = std::conditional_t<std::is_integral_v<Scalar>, IntegerSum<Scalar>, Scalar>;

/// A reducer has the type in which it accumulates, the result over no entries (initial), the reduction of a run
/// (of_run) and the combination of two results, or of two arrays of results (combine).
struct SumReducer {
  template <class Scalar>
  using Accumulator = SumType<Scalar>;
  template <class A>
  static A initial() {
    return A(0);
  }
  template <class A>
  static A of_run(const auto& entries) {
    // Floats are summed in float to use SIMD; run_part bounds the rounding error.
    using Own = typename std::remove_cvref_t<decltype(entries)>::Scalar;
    if constexpr (std::is_same_v<Own, float>)
      return static_cast<A>(entries.sum());
    else
      return entries.template cast<A>().sum();
  }
  static auto combine(const auto& a, const auto& b) { return a + b; }
};
struct ProductReducer {
  template <class Scalar>
  using Accumulator = SumType<Scalar>;
  template <class A>
  static A initial() {
    return A(1);
  }
  template <class A>
  static A of_run(const auto& entries) {
    return entries.template cast<A>().prod();
  }
  static auto combine(const auto& a, const auto& b) { return a * b; }
};
struct MaxReducer {
  template <class Scalar>
  using Accumulator = Scalar;
  template <class A>
  static A initial() {
    return std::numeric_limits<A>::has_infinity ? -std::numeric_limits<A>::infinity()
                                                : (std::numeric_limits<A>::lowest)();
  }
  template <class A>
  static A of_run(const auto& entries) {
    return entries.template maxCoeff<propagate_nan<A>>();
  }
  static auto combine(const auto& a, const auto& b) { return Larger()(a, b); }
};
struct MinReducer {
  template <class Scalar>
  using Accumulator = Scalar;
  template <class A>
  static A initial() {
    return std::numeric_limits<A>::has_infinity ? std::numeric_limits<A>::infinity() : (std::numeric_limits<A>::max)();
  }
  template <class A>
  static A of_run(const auto& entries) {
    return entries.template minCoeff<propagate_nan<A>>();
  }
  static auto combine(const auto& a, const auto& b) { return Smaller()(a, b); }
};
struct AllReducer {
  template <class Scalar>
  using Accumulator = bool;
  template <class A>
  static A initial() {
    return true;
  }
  template <class A>
  static A of_run(const auto& entries) {
    return entries.all();
  }
  static auto combine(const auto& a, const auto& b) { return a && b; }
};
struct AnyReducer {
  template <class Scalar>
  using Accumulator = bool;
  template <class A>
  static A initial() {
    return false;
  }
  template <class A>
  static A of_run(const auto& entries) {
    return entries.any();
  }
  static auto combine(const auto& a, const auto& b) { return a || b; }
};

/// Returns 1 for each dimension that is named, and 0 for the others. Throws if one does not exist or is named twice.
inline Sizes named_dimensions(const char* where, const Sizes& dimensions, int rank) {
  Sizes is_named = Sizes::of_rank(rank);
  for (const Index given : dimensions) {
    const int d = dimension_number(where, given, rank);
    check(is_named[d]++ == 0, where, ": dimension ", d, " is named twice");
  }
  return is_named;
}

/// Which dimensions of a shape are reduced.
struct ReducedShape {
  Sizes kept;        // each reduced dimension has one entry
  Sizes squeezed;    // without the reduced dimensions
  Sizes is_reduced;  // 1 or 0
  Index count = 1;   // the number of entries that become one

  /// Throws if a dimension does not exist or is named twice.
  ReducedShape(const char* where, const Sizes& shape, const Sizes& dimensions)
      : kept(shape), is_reduced(named_dimensions(where, dimensions, shape.rank())) {
    const bool has_entries = count_of(shape) > 0;  // else the product of some sizes may be too large to count
    for (int d = 0; d < shape.rank(); ++d) {
      if (is_reduced[d] == 0) {
        squeezed.push_back(shape[d]);
      } else {
        kept[d] = 1;
        count = has_entries ? count * shape[d] : 0;
      }
    }
  }
};

/// The numbers of all dimensions.
inline Sizes all_dimensions(const Sizes& shape) {
  Sizes all;
  for (int d = 0; d < shape.rank(); ++d) all.push_back(d);
  return all;
}

/// Runs are reduced this many entries at a time, so that a sum of float entries stays accurate.
inline constexpr Index run_part = 1024;

/// Returns an operand's entries, reduced over some dimensions. These keep one entry each.
template <class Reducer, class Operand>
auto reduced(const Operand& operand, const ReducedShape& to) {
  using A = typename Reducer::template Accumulator<typename Operand::value_type>;
  Tensor<A> result(to.kept, Reducer::template initial<A>());
  const Sizes shape = operand.shape();
  Sizes strides = result.strides();
  for (int d = 0; d < shape.rank(); ++d)
    if (to.is_reduced[d] != 0) strides[d] = 0;
  const auto loop = loop_over(operand, shape, strides, Operand::leaves > 0 ? 1 : 0);
  const auto add_part = [&](A* target, const auto& part) {
    const A of_part = Reducer::template of_run<A>(operand.template entries<1>(part));
    Eigen::Map<RunArray<A>> entry(target, 1);
    entry = Reducer::combine(entry, RunArray<A>::Constant(1, of_part));
  };
  for_each_run(loop, [&](const auto& run) {
    A* const target = result.data() + run.offsets[0];
    if (run.strides[0] == 0) {
      if (run.size <= run_part) {  // the usual case: no part is made
        add_part(target, run);
      } else {
        for (Index first = 0; first < run.size; first += run_part)
          add_part(target, run.part(first, std::min<Index>(run_part, run.size - first)));
      }
    } else {
      Eigen::Map<RunArray<A>, Eigen::Unaligned, Eigen::InnerStride<Eigen::Dynamic>> sums(
          target, run.size, Eigen::InnerStride<Eigen::Dynamic>(run.strides[0]));
      sums = Reducer::combine(sums, operand.template entries<1>(run).template cast<A>());
    }
  });
  return result;
}

/// Returns the reduction of x with the shape that the options ask for.
template <class Reducer, class Result, class X>
Tensor<Result> reduce(const char* where, X&& x, const Sizes& dimensions, bool keep_dims) {
  const auto operand = operand_of(std::forward<X>(x));
  const ReducedShape to(where, operand.shape(), dimensions);
  const Sizes& shape = keep_dims ? to.kept : to.squeezed;
  auto accumulated = reduced<Reducer>(operand, to);
  if constexpr (std::is_same_v<Tensor<Result>, decltype(accumulated)>) {
    return std::move(accumulated).reshape(shape);
  } else {
    Tensor<Result> result = Tensor<Result>::uninitialized(shape);
    convert(accumulated.data(), accumulated.size(), result.data());
    return result;
  }
}

template <TensorLike X>
Sizes shape_of(const X& x) {
  return Sizes(operand_of(x).shape());
}

/// Throws if an extreme of no entries is asked for.
inline void check_not_empty(const char* where, const Sizes& shape, const Sizes& dimensions) {
  for (const Index d : dimensions)
    check(shape[dimension_number(where, d, shape.rank())] > 0, where, ": a tensor ", shape,
          " has no entries to choose from");
}

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
