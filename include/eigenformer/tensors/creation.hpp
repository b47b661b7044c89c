// Functions that make tensors: from nested lists, constants, ranges and random numbers.
#pragma once

#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <utility>
#include <vector>

#include "eigenformer/core/rng.hpp"
#include "eigenformer/core/tensor.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// A number, or a list of nested lists: the argument of `tensor`.
template <class Scalar>
class NestedList {
 public:
  NestedList(Scalar value) : values_{value} {}
  /// Numbers for tensors of a 16-bit type, which C++ converts only explicitly.
  template <Number Value>
  requires(!std::is_convertible_v<Value, Scalar>) NestedList(Value value) : values_{static_cast<Scalar>(value)} {}
  /// Throws if the lists differ in shape.
  NestedList(std::initializer_list<NestedList> lists) {
    for (const NestedList& list : lists) {
      const Sizes& expected = lists.begin()->shape_;
      check(list.shape_ == expected, "tensor: a list of shape ", list.shape_, " beside one of shape ", expected);
      values_.insert(values_.end(), list.values_.begin(), list.values_.end());
    }
    if (lists.size() > 0) shape_ = lists.begin()->shape_;
    shape_.insert(0, static_cast<Index>(lists.size()));
  }

  Tensor<Scalar> tensor() const {
    Tensor<Scalar> x = Tensor<Scalar>::uninitialized(shape_);
    std::copy(values_.begin(), values_.end(), x.data());
    return x;
  }

 private:
  Sizes shape_;
  std::vector<Scalar> values_;
};

/// Returns the tensor of nested lists: tensor<float>({{1, 2, 3}, {4, 5, 6}}) is [2 x 3]. Throws if lists within one
/// list differ in shape.
template <class Scalar>
Tensor<Scalar> tensor(const NestedList<Scalar>& lists) {
  return lists.tensor();
}

/// Returns a tensor of equal entries. full<float>({}, 3) has rank 0.
template <class Scalar>
Tensor<Scalar> full(const Sizes& shape, const std::type_identity_t<Scalar>& value) {
  return Tensor<Scalar>(shape, value);
}
/// Returns a tensor of equal entries of a 16-bit type, to which C++ converts numbers only explicitly.
template <class Scalar, Number Value>
requires(!std::is_convertible_v<Value, Scalar>) Tensor<Scalar> full(const Sizes& shape, Value value) {
  return full<Scalar>(shape, static_cast<Scalar>(value));
}
/// Returns a tensor of zeros.
template <class Scalar>
Tensor<Scalar> zeros(const Sizes& shape) {
  return full<Scalar>(shape, Scalar(0));
}
/// Returns a tensor of ones.
template <class Scalar>
Tensor<Scalar> ones(const Sizes& shape) {
  return full<Scalar>(shape, Scalar(1));
}
/// Returns the identity matrix [n x n].
template <class Scalar>
Tensor<Scalar> eye(Index n) {
  Tensor<Scalar> x({n, n});
  for (Index i = 0; i < n; ++i) x(i, i) = Scalar(1);
  return x;
}

/// Returns [begin, begin + step, begin + 2 step ..] before `end`, as NumPy's arange. Throws if step is 0 or infinite,
/// or if the number of entries is too large for an Index or, because of NaN or infinity, undefined.
template <class Scalar>
Tensor<Scalar> arange(std::type_identity_t<Scalar> begin, std::type_identity_t<Scalar> end,
                      std::type_identity_t<Scalar> step = Scalar(1)) {
  check(step != Scalar(0), "arange: the step is 0, expected a number above or below 0");
  if constexpr (std::is_integral_v<Scalar>) {
    // Unsigned, so that no difference of two integers overflows.
    using Unsigned = std::uint64_t;
    const auto from = static_cast<Unsigned>(begin), width = static_cast<Unsigned>(step);
    const bool is_rising = step > 0, is_empty = is_rising ? begin >= end : begin <= end;
    const Unsigned distance = is_rising ? static_cast<Unsigned>(end) - from : from - static_cast<Unsigned>(end);
    const Unsigned count = is_empty ? 0 : (distance - 1) / (is_rising ? width : 0 - width) + 1;
    check(count <= static_cast<Unsigned>((std::numeric_limits<Index>::max)()), "arange: too many entries");
    Tensor<Scalar> x({static_cast<Index>(count)});
    for (Unsigned i = 0; i < count; ++i) x.data()[i] = static_cast<Scalar>(from + i * width);
    return x;
  } else {
    const double first = static_cast<double>(begin), width = static_cast<double>(step);
    const double count = std::ceil((static_cast<double>(end) - first) / width);
    check(!std::isnan(count) && !std::isinf(width), "arange: from ", first, " to ", static_cast<double>(end), " by ",
          width, ", expected a finite number of entries");
    check(count < static_cast<double>((std::numeric_limits<Index>::max)()), "arange: too many entries");
    Tensor<Scalar> x({count > 0 ? static_cast<Index>(count) : 0});
    for (Index i = 0; i < x.size(); ++i) x(i) = static_cast<Scalar>(first + static_cast<double>(i) * width);
    return x;
  }
}
/// Returns [0, 1, .. count - 1].
template <class Scalar>
Tensor<Scalar> arange(std::type_identity_t<Scalar> count) {
  return arange<Scalar>(Scalar(0), count);
}

/// Returns a range of a 16-bit type, to which C++ converts numbers only explicitly.
template <class Scalar, Number Begin, Number End, Number Step = Scalar>
requires(!(std::is_convertible_v<Begin, Scalar> && std::is_convertible_v<End, Scalar> &&
           std::is_convertible_v<Step, Scalar>)) Tensor<Scalar> arange(Begin begin, End end, Step step = Step(1)) {
  return arange<Scalar>(static_cast<Scalar>(begin), static_cast<Scalar>(end), static_cast<Scalar>(step));
}
/// Returns [0, 1, .. count - 1] for 16-bit types.
template <class Scalar, Number Count>
requires(!std::is_convertible_v<Count, Scalar>) Tensor<Scalar> arange(Count count) {
  return arange<Scalar>(Scalar(0), static_cast<Scalar>(count));
}

/// Returns a tensor of this shape with uniform random numbers in [0, 1): multiples of 2^-d, where Scalar has d bits of
/// precision.
template <class Scalar>
Tensor<Scalar> rand(const Sizes& shape, Rng& rng) {
  static_assert(!std::is_integral_v<Scalar>, "random integers: write randint<Scalar>(count, shape, rng)");
  // Digits are cut off, because rounding would reach 1.
  const double steps = std::ldexp(1.0, std::numeric_limits<Scalar>::digits);
  Tensor<Scalar> x = Tensor<Scalar>::uninitialized(shape);
  for (Index i = 0; i < x.size(); ++i) x.data()[i] = static_cast<Scalar>(std::floor(rng.uniform() * steps) / steps);
  return x;
}
/// Returns a tensor of this shape with normal random numbers of mean 0 and variance 1.
template <class Scalar>
Tensor<Scalar> randn(const Sizes& shape, Rng& rng) {
  Tensor<Scalar> x = Tensor<Scalar>::uninitialized(shape);
  for (Index i = 0; i < x.size(); ++i) x.data()[i] = static_cast<Scalar>(rng.normal());
  return x;
}
/// Returns a tensor of this shape with uniform random integers in 0 .. count - 1. Throws if count < 1, if an integer
/// Scalar cannot hold count - 1, or if count exceeds 2^d, where a floating-point Scalar has d bits of precision.
template <class Scalar>
Tensor<Scalar> randint(Index count, const Sizes& shape, Rng& rng) {
  check(count >= 1, "randint: count is ", count, ", expected at least 1");
  if constexpr (std::is_integral_v<Scalar>) {
    const auto largest = +(std::numeric_limits<Scalar>::max)();
    check(std::cmp_less_equal(count - 1, largest), "randint: count is ", count, ", expected at most ",
          static_cast<std::uint64_t>(largest) + 1);
  } else {
    constexpr Index largest = Index{1} << std::numeric_limits<Scalar>::digits;
    check(count <= largest, "randint: count is ", count, ", expected at most ", largest);
  }
  Tensor<Scalar> x = Tensor<Scalar>::uninitialized(shape);
  for (Index i = 0; i < x.size(); ++i) x.data()[i] = static_cast<Scalar>(rng.randint(count));
  return x;
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
