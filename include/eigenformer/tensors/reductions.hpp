// Sums, means, extremes and the like over dimensions of tensors and of expressions, as in NumPy and PyTorch.
//
//   Tensor<float> per_token = sum(x * y, -1);                           // over the last dimension
//   Tensor<float> centred = x - mean(x, {1, 2}, {.keep_dims = true});   // [batch x 1 x 1] broadcasts
//   float all = sum(x).item();                                          // over all dimensions: rank 0
//
// Sums of floating-point numbers are taken in double; up to 1024 floats that follow each other in memory are first
// summed in float. Sums of integers and of bool are taken in signed 64-bit integers, those of unsigned 64-bit integers
// in unsigned ones. A sum over no entries is 0, a product 1; the extremes of no entries throw.
#pragma once

#include "eigenformer/tensors/detail/reduce.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// Options of a reduction.
struct ReductionOptions {
  bool keep_dims = false;  // keep each dimension that is reduced, with one entry
  double correction = 1;   // of variance and standard_deviation: they divide by the number of entries minus this
};

/// Dimensions of a reduction: one number, or several in braces. Negative ones count from the end.
class Dimensions {
 public:
  Dimensions(Index dimension) : numbers_{dimension} {}
  Dimensions(std::initializer_list<Index> dimensions) : numbers_(dimensions) {}
  Dimensions(const Sizes& dimensions) : numbers_(dimensions) {}
  const Sizes& numbers() const { return numbers_; }

 private:
  Sizes numbers_;
};

// Each takes a tensor, a view or an expression. sum, prod, amax, amin, all, any and mean without dimensions reduce over
// all of them.

/// The sum; 0 over no entries. Integers and bool are summed as signed 64-bit integers, unsigned 64-bit integers
/// stay unsigned.
template <TensorLike X>
auto sum(X&& x, const Dimensions& dimensions, const ReductionOptions& options = {}) {
  using Result = detail::SumResult<ScalarOf<X>>;
  return detail::reduce<detail::SumReducer, Result>("sum", std::forward<X>(x), dimensions.numbers(), options.keep_dims);
}
template <TensorLike X>
auto sum(X&& x) {
  const Sizes all = detail::all_dimensions(detail::shape_of(x));
  return sum(std::forward<X>(x), all);
}
/// The product; 1 over no entries. Integers and bool are multiplied as signed 64-bit integers, unsigned 64-bit integers
/// stay unsigned.
template <TensorLike X>
auto prod(X&& x, const Dimensions& dimensions, const ReductionOptions& options = {}) {
  using Result = detail::SumResult<ScalarOf<X>>;
  return detail::reduce<detail::ProductReducer, Result>("prod", std::forward<X>(x), dimensions.numbers(),
                                                        options.keep_dims);
}
template <TensorLike X>
auto prod(X&& x) {
  const Sizes all = detail::all_dimensions(detail::shape_of(x));
  return prod(std::forward<X>(x), all);
}
/// The largest entries; NaN where an entry is.
template <TensorLike X>
auto amax(X&& x, const Dimensions& dimensions, const ReductionOptions& options = {}) {
  detail::check_not_empty("amax", detail::shape_of(x), dimensions.numbers());
  return detail::reduce<detail::MaxReducer, ScalarOf<X>>("amax", std::forward<X>(x), dimensions.numbers(),
                                                         options.keep_dims);
}
template <TensorLike X>
auto amax(X&& x) {
  const Sizes all = detail::all_dimensions(detail::shape_of(x));
  return amax(std::forward<X>(x), all);
}
/// The smallest entries; NaN where an entry is.
template <TensorLike X>
auto amin(X&& x, const Dimensions& dimensions, const ReductionOptions& options = {}) {
  detail::check_not_empty("amin", detail::shape_of(x), dimensions.numbers());
  return detail::reduce<detail::MinReducer, ScalarOf<X>>("amin", std::forward<X>(x), dimensions.numbers(),
                                                         options.keep_dims);
}
template <TensorLike X>
auto amin(X&& x) {
  const Sizes all = detail::all_dimensions(detail::shape_of(x));
  return amin(std::forward<X>(x), all);
}
/// Whether all entries of a tensor of bool are true.
template <TensorLike X>
requires(std::is_same_v<ScalarOf<X>, bool>) auto all(X&& x, const Dimensions& dimensions,
                                                     const ReductionOptions& options = {}) {
  return detail::reduce<detail::AllReducer, bool>("all", std::forward<X>(x), dimensions.numbers(), options.keep_dims);
}
template <TensorLike X>
requires(std::is_same_v<ScalarOf<X>, bool>) bool all(X&& x) {
  const Sizes dimensions = detail::all_dimensions(detail::shape_of(x));
  return all(std::forward<X>(x), dimensions).item();
}
/// Whether any entry of a tensor of bool is true.
template <TensorLike X>
requires(std::is_same_v<ScalarOf<X>, bool>) auto any(X&& x, const Dimensions& dimensions,
                                                     const ReductionOptions& options = {}) {
  return detail::reduce<detail::AnyReducer, bool>("any", std::forward<X>(x), dimensions.numbers(), options.keep_dims);
}
template <TensorLike X>
requires(std::is_same_v<ScalarOf<X>, bool>) bool any(X&& x) {
  const Sizes dimensions = detail::all_dimensions(detail::shape_of(x));
  return any(std::forward<X>(x), dimensions).item();
}
/// The mean; NaN over no entries.
template <TensorLike X>
auto mean(X&& x, const Dimensions& dimensions, const ReductionOptions& options = {}) {
  using Scalar = ScalarOf<X>;
  static_assert(!std::is_integral_v<Scalar>, "the mean of integers: write cast<float>() of the tensor");
  const detail::ReducedShape to("mean", detail::shape_of(x), dimensions.numbers());
  const double count = static_cast<double>(to.count);
  return Tensor<Scalar>(cast<Scalar>(
      detail::reduce<detail::SumReducer, double>("mean", std::forward<X>(x), dimensions.numbers(), options.keep_dims) /
      count));
}
template <TensorLike X>
auto mean(X&& x) {
  const Sizes all = detail::all_dimensions(detail::shape_of(x));
  return mean(std::forward<X>(x), all);
}
namespace detail {

/// Returns the variances, computed in double. So are the means: the square of their error is added to the variances.
template <TensorLike X>
Tensor<double> variances(const char* where, const X& x, const Dimensions& dimensions, const ReductionOptions& options) {
  static_assert(!std::is_integral_v<ScalarOf<X>>, "the variance of integers: write cast<float>() of the tensor");
  const ReducedShape to(where, shape_of(x), dimensions.numbers());
  const double count = static_cast<double>(to.count), divisor = std::max<double>(0.0, count - options.correction);
  const Tensor<double> means = reduce<SumReducer, double>(where, cast<double>(x), dimensions.numbers(), true) / count;
  return sum(square(cast<double>(x) - means), dimensions, options) / divisor;
}

}  // namespace detail

/// The sum of squared differences from the mean, divided by the number of entries minus options.correction. If the
/// divisor is not positive: NaN for equal entries, otherwise infinity. Computed in double.
template <TensorLike X>
auto variance(X&& x, const Dimensions& dimensions, const ReductionOptions& options = {}) {
  return detail::variances("variance", x, dimensions, options).template cast<ScalarOf<X>>();
}
/// The square root of the variance.
template <TensorLike X>
auto standard_deviation(X&& x, const Dimensions& dimensions, const ReductionOptions& options = {}) {
  return Tensor<ScalarOf<X>>(cast<ScalarOf<X>>(sqrt(detail::variances("standard_deviation", x, dimensions, options))));
}

namespace detail {

template <TensorLike X>
Tensor<ScalarOf<X>> computed_logsumexp(X&& x, const Dimensions& dimensions, const ReductionOptions& options) {
  using Scalar = ScalarOf<X>;
  const ReducedShape to("logsumexp", shape_of(x), dimensions.numbers());
  check_not_empty("logsumexp", shape_of(x), dimensions.numbers());
  const Tensor<Scalar> largest = amax(x, dimensions, {.keep_dims = true});
  const Tensor<Scalar> origin = where(isfinite(largest), largest, Scalar(0));
  const Tensor<Scalar> sums = sum(exp(std::forward<X>(x) - origin), dimensions, {.keep_dims = true});
  return Tensor<Scalar>(log(sums) + origin).reshape(options.keep_dims ? to.kept : to.squeezed);
}

}  // namespace detail

/// log(sum(exp(x))), without overflow; -inf over entries of -inf. Throws over no entries.
template <TensorLike X>
auto logsumexp(X&& x, const Dimensions& dimensions, const ReductionOptions& options = {}) {
  using Scalar = ScalarOf<X>;
  detail::check_fractions<Scalar>();
  if constexpr (!std::is_same_v<Scalar, ComputeType<Scalar>>) {  // 16 bits: the sum may overflow or lose digits
    return Tensor<Scalar>(cast<Scalar>(detail::computed_logsumexp(Tensor<float>(cast<float>(x)), dimensions, options)));
  } else {
    return detail::computed_logsumexp(std::forward<X>(x), dimensions, options);
  }
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
