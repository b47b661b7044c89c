// Tensors from parts: concatenation along a dimension, and stacking along a new one.
#pragma once

#include <span>
#include <vector>

#include "eigenformer/tensors/detail/lines.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

namespace detail {

/// Returns body(views of the tensors). Expressions are computed first.
template <class Body, class First, class... Others>
auto with_views(Body body, const First& first, const Others&... others) {
  static_assert((... && std::is_same_v<ScalarOf<First>, ScalarOf<Others>>),
                "tensors of different types: write cast<T>() of one of them");
  using View = TensorView<const ScalarOf<First>>;
  const std::tuple<Evaluated<const First&>, Evaluated<const Others&>...> values(first, others...);
  return std::apply(
      [&](const auto&... x) {
        const std::array<View, sizeof...(x)> views{x.view()...};
        return body(std::span<const View>(views));
      },
      values);
}

}  // namespace detail

/// Returns the parts one after the other along a dimension. Their other dimensions are equal. Throws if they are not,
/// or if there is no part. The parts may be what split() returned.
template <class Scalar>
Tensor<std::remove_const_t<Scalar>> concat(std::span<const TensorView<Scalar>> parts, Index dimension) {
  check(!parts.empty(), "concat: no tensors, expected 1 or more");
  Sizes shape = parts[0].shape();
  const int d = dimension_number("concat", dimension, shape.rank());
  shape[d] = 0;
  for (const TensorView<Scalar>& part : parts) {
    Sizes others = part.shape();
    check(others.rank() == shape.rank(), "concat: a tensor ", part.shape(), " after one ", parts[0].shape(),
          ", expected as many dimensions");
    others[d] = shape[d];
    check(others == shape, "concat: a tensor ", part.shape(), " after one ", parts[0].shape(),
          ", expected equal sizes except in dimension ", d);
    shape[d] += part.shape()[d];
  }
  auto whole = Tensor<std::remove_const_t<Scalar>>::uninitialized(shape);
  Index begin = 0;
  for (const TensorView<Scalar>& part : parts) {
    const Index end = begin + part.shape()[d];
    part.copy_to(whole.slice(d, {.begin = begin, .end = end}));
    begin = end;
  }
  return whole;
}
template <class Scalar>
auto concat(const std::vector<TensorView<Scalar>>& parts, Index dimension) {
  return concat(std::span<const TensorView<Scalar>>(parts), dimension);
}
/// Returns tensors, views or expressions one after the other along a dimension: concat(0, a, b, c).
template <TensorLike First, TensorLike... Others>
auto concat(Index dimension, First&& first, Others&&... others) {
  return detail::with_views([&](const auto& parts) { return concat(parts, dimension); }, first, others...);
}

/// Stacks parts of the same shape along a new dimension, which has the number `dimension` in the result. Throws if
/// shapes differ or there is no part.
template <class Scalar>
Tensor<std::remove_const_t<Scalar>> stack(std::span<const TensorView<Scalar>> parts, Index dimension) {
  check(!parts.empty(), "stack: no tensors, expected 1 or more");
  const int d = new_dimension_number("stack", dimension, parts[0].shape());
  std::vector<TensorView<Scalar>> longer;
  for (const TensorView<Scalar>& part : parts) {
    check(part.shape() == parts[0].shape(), "stack: a tensor ", part.shape(), " after one ", parts[0].shape(),
          ", expected equal shapes");
    longer.push_back(part.unsqueeze(d));
  }
  return concat(longer, d);
}
template <class Scalar>
auto stack(const std::vector<TensorView<Scalar>>& parts, Index dimension) {
  return stack(std::span<const TensorView<Scalar>>(parts), dimension);
}
/// Returns tensors, views or expressions along a new dimension: stack(0, a, b, c).
template <TensorLike First, TensorLike... Others>
auto stack(Index dimension, First&& first, Others&&... others) {
  return detail::with_views([&](const auto& parts) { return stack(parts, dimension); }, first, others...);
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
