// Sorting, argmax and argmin, the k largest entries, and running sums along a dimension.
//
// NaN counts as larger than all numbers, as in NumPy and PyTorch. Of equal entries the one with the lower index comes
// first, in either direction.
#pragma once

#include <numeric>
#include <vector>

#include "eigenformer/tensors/detail/lines.hpp"
#include "eigenformer/tensors/detail/reduce.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// The direction of a sort.
enum class SortOrder { ascending, descending };

namespace detail {

/// Returns a tensor of x's shape, but of size result_size along a dimension. Each line along that dimension is written
/// by write(from, from_stride, n, to, to_stride).
template <class Result, class Scalar, class Write>
Tensor<Result> map_lines(const TensorView<const Scalar>& x, int dimension, Index result_size, Write write) {
  Sizes shape = x.shape();
  shape[dimension] = result_size;
  Tensor<Result> result = Tensor<Result>::uninitialized(shape);
  if (result.size() == 0) return result;
  for_each_line<2>(shape, {result.strides(), x.strides()}, dimension, [&](const auto& offsets) {
    write(x.data() + offsets[1], x.strides()[dimension], x.shape()[dimension], result.data() + offsets[0],
          result.strides()[dimension]);
  });
  return result;
}

/// Returns the indices of a line's entries in sorted order; only the first `count` are sorted.
template <class Scalar>
std::vector<Index> sorted_places(const Scalar* line, Index stride, Index n, SortOrder order, Index count) {
  std::vector<Index> places(static_cast<std::size_t>(n));
  std::iota(places.begin(), places.end(), Index{0});
  const auto before = [&](Index a, Index b) {
    const Scalar &x = line[a * stride], &y = line[b * stride];
    if (order == SortOrder::descending ? comes_before(y, x) : comes_before(x, y)) return true;
    if (order == SortOrder::descending ? comes_before(x, y) : comes_before(y, x)) return false;
    return a < b;
  };
  if (count < n)
    std::partial_sort(places.begin(), places.begin() + count, places.end(), before);
  else
    std::sort(places.begin(), places.end(), before);
  return places;
}

template <class X>
Tensor<Index> place_of_extreme(const char* where, X&& x, Index dimension, SortOrder order) {
  const Evaluated values(x);
  const int d = dimension_number(where, dimension, values.view().rank());
  check(values.view().shape()[d] > 0, where, ": a tensor ", values.view().shape(), " has no entries to choose from");
  return map_lines<Index>(values.view(), d, 1,
                          [&](const auto* line, Index stride, Index n, Index* to, Index) {
                            Index best = 0;
                            for (Index i = 1; i < n; ++i) {
                              const auto &candidate = line[i * stride], &so_far = line[best * stride];
                              // A NaN is the extreme in either direction, the first of several.
                              if (order == SortOrder::descending || candidate != candidate || so_far != so_far
                                      ? comes_before(so_far, candidate)
                                      : candidate < so_far)
                                best = i;
                            }
                            *to = best;
                          })
      .squeeze(d);
}

}  // namespace detail

/// Returns the index of the largest entry along a dimension. The result lacks that dimension.
template <TensorLike X>
Tensor<Index> argmax(X&& x, Index dimension) {
  return detail::place_of_extreme("argmax", x, dimension, SortOrder::descending);
}
/// Returns the index of the smallest entry along a dimension, or of the first NaN, as in NumPy and PyTorch. The result
/// lacks that dimension.
template <TensorLike X>
Tensor<Index> argmin(X&& x, Index dimension) {
  return detail::place_of_extreme("argmin", x, dimension, SortOrder::ascending);
}

/// Returns the indices that sort each line along a dimension.
template <TensorLike X>
Tensor<Index> argsort(X&& x, Index dimension = -1, SortOrder order = SortOrder::ascending) {
  const detail::Evaluated values(x);
  const int d = dimension_number("argsort", dimension, values.view().rank());
  return detail::map_lines<Index>(values.view(), d, values.view().shape()[d],
                                  [&](const auto* line, Index stride, Index n, Index* to, Index to_stride) {
                                    const auto places = detail::sorted_places(line, stride, n, order, n);
                                    for (const Index place : places) {
                                      *to = place;
                                      to += to_stride;
                                    }
                                  });
}
/// Returns x with each line along a dimension sorted.
template <TensorLike X>
auto sort(X&& x, Index dimension = -1, SortOrder order = SortOrder::ascending) {
  const detail::Evaluated values(x);
  const int d = dimension_number("sort", dimension, values.view().rank());
  return detail::map_lines<ScalarOf<X>>(values.view(), d, values.view().shape()[d],
                                        [&](const auto* line, Index stride, Index n, auto* to, Index to_stride) {
                                          const auto places = detail::sorted_places(line, stride, n, order, n);
                                          for (const Index place : places) {
                                            *to = line[place * stride];
                                            to += to_stride;
                                          }
                                        });
}

/// What top_k returns.
template <class Scalar>
struct TopK {
  Tensor<Scalar> values;  // the largest first
  Tensor<Index> indices;  // their indices along the dimension
};
/// Returns the k largest entries along a dimension, the largest first. Throws if the dimension has fewer than k.
template <TensorLike X>
TopK<ScalarOf<X>> top_k(X&& x, Index k, Index dimension = -1) {
  using Scalar = ScalarOf<X>;
  const detail::Evaluated values(x);
  const int d = dimension_number("top_k", dimension, values.view().rank());
  check(k >= 0 && k <= values.view().shape()[d], "top_k: k is ", k, ", dimension ", d, " of a tensor ",
        values.view().shape(), ", expected 0 to ", values.view().shape()[d]);
  TopK<Scalar> result;
  result.indices = detail::map_lines<Index>(
      values.view(), d, k, [&](const Scalar* line, Index stride, Index n, Index* to, Index to_stride) {
        const auto places = detail::sorted_places(line, stride, n, SortOrder::descending, k);
        for (Index i = 0; i < k; ++i) to[i * to_stride] = places[static_cast<std::size_t>(i)];
      });
  result.values = Tensor<Scalar>::uninitialized(result.indices.shape());
  const Sizes strides = result.values.strides();
  detail::for_each_line<2>(result.values.shape(), {strides, values.view().strides()}, d, [&](const auto& offsets) {
    for (Index i = 0; i < k; ++i) {
      const Index to = offsets[0] + i * strides[d];
      const Index place = result.indices.data()[to];
      result.values.data()[to] = values.view().data()[offsets[1] + place * values.view().strides()[d]];
    }
  });
  return result;
}

/// Returns the running sums along a dimension, in the type of sum(). Entry i is the sum of entries 0 to i.
template <TensorLike X>
auto cumsum(X&& x, Index dimension = -1) {
  using Scalar = ScalarOf<X>;
  using Result = detail::SumResult<Scalar>;
  const detail::Evaluated values(x);
  const int d = dimension_number("cumsum", dimension, values.view().rank());
  return detail::map_lines<Result>(values.view(), d, values.view().shape()[d],
                                   [&](const auto* line, Index stride, Index n, Result* to, Index to_stride) {
                                     detail::SumType<Scalar> sum = 0;
                                     for (Index i = 0; i < n; ++i) {
                                       sum += static_cast<detail::SumType<Scalar>>(line[i * stride]);
                                       to[i * to_stride] = static_cast<Result>(sum);
                                     }
                                   });
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
