// Multidimensional spans as views, and views as multidimensional spans: std::mdspan, Kokkos's, or any type with their
// members. Nothing is copied.
//
//   std::mdspan<float, std::dextents<int, 3>> a(data, 2, 3, 4);
//   TensorView<float> x = tensor_view(a);        // [2 x 3 x 4], x(i, j, k) is a[i, j, k]
//   auto b = as_mdspan<3>(x);                    // if the standard library has std::mdspan
#pragma once

#include <algorithm>
#include <array>
#include <concepts>
#include <type_traits>
#include <utility>
#include <version>
#if defined(__cpp_lib_mdspan)
#include <mdspan>
#endif

#include "eigenformer/core/tensor.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// Whether a span's accessor only dereferences pointers. Others, such as std::linalg::scaled, change what is read.
template <class T>
inline constexpr bool accesses_memory = true;
template <class T>
requires requires {
  typename T::reference;
  typename T::element_type;
}
inline constexpr bool accesses_memory<T> = std::is_same_v<typename T::reference, typename T::element_type&>;

/// Whether T is a multidimensional span: a pointer, with an extent and a stride for each dimension.
template <class T>
concept Mdspan = requires(const T& x) {
  { x.rank() } -> std::convertible_to<std::size_t>;
  { x.extent(0) } -> std::convertible_to<Index>;
  { x.stride(0) } -> std::convertible_to<Index>;
  requires std::is_pointer_v<std::remove_cvref_t<decltype(x.data_handle())>>;
}
&&accesses_memory<T>;

/// Returns a view of a span's entries in place. A span of const entries gives a view of const entries. Throws if the
/// span has more than eight dimensions, or a layout that strides cannot express.
template <Mdspan T>
auto tensor_view(const T& x) {
  using Scalar = std::remove_pointer_t<std::remove_cvref_t<decltype(x.data_handle())>>;
  if constexpr (requires { x.is_strided(); })
    check(x.is_strided(),
          "tensor_view: the span's layout has no strides, expected layout_left, layout_right or "
          "layout_stride");
  const auto rank = static_cast<int>(x.rank());
  Sizes shape = Sizes::of_rank(rank), strides = shape;
  for (int i = 0; i < rank; ++i) {
    const auto extent = x.extent(static_cast<std::size_t>(i));
    check(std::in_range<Index>(extent), "tensor_view: dimension ", i, " of the span has ", extent, " entries");
    shape[i] = static_cast<Index>(extent);
    strides[i] = static_cast<Index>(x.stride(static_cast<std::size_t>(i)));
  }
  return TensorView<Scalar>(x.data_handle(), shape, strides);
}

#if defined(__cpp_lib_mdspan)

/// Returns a std::mdspan of a tensor's or a view's entries in place: as_mdspan<3>(x). Throws if x has another rank.
/// Throws unless strides are positive and the dimensions do not interleave: each stride is at least stride * size of
/// any dimension with a smaller stride (std::layout_stride demands it).
template <int rank, class Scalar>
std::mdspan<Scalar, std::dextents<Index, rank>, std::layout_stride> as_mdspan(const TensorView<Scalar>& x) {
  check(x.rank() == rank, "as_mdspan: a tensor ", x.shape(), ", expected ", rank, " dimensions");
  std::array<Index, static_cast<std::size_t>(rank)> extents{}, strides{};
  Index last = 0;  // stride * size of the dimension behind: the stride of a dimension of one entry
  for (std::size_t i = extents.size(); i-- > 0;) {
    const auto d = static_cast<int>(i);
    extents[i] = x.shape()[d];
    strides[i] = x.size() > 0 && extents[i] > 1 ? x.strides()[d] : std::max<Index>(1, last);
    last = strides[i] * std::max<Index>(1, extents[i]);
  }
  if (x.size() > 0)
    for (std::size_t i = 0; i < extents.size(); ++i)
      for (std::size_t k = 0; k < extents.size(); ++k) {
        if (extents[i] <= 1 || extents[k] <= 1) continue;
        const bool smaller = strides[k] < strides[i] || (strides[k] == strides[i] && k > i);
        check(strides[i] > 0 && (!smaller || strides[k] * extents[k] <= strides[i]), "as_mdspan: a tensor ", x.shape(),
              " with strides ", x.strides(), ", expected positive strides, each at least the span of the smaller ones");
      }
  const std::dextents<Index, rank> shape(extents);
  return {x.data(), std::layout_stride::mapping(shape, strides)};
}
template <int rank, class Scalar>
auto as_mdspan(Tensor<Scalar>& x) {
  return as_mdspan<rank>(x.view());
}
template <int rank, class Scalar>
auto as_mdspan(const Tensor<Scalar>& x) {
  return as_mdspan<rank>(x.view());
}
template <int rank, class Scalar>
void as_mdspan(const Tensor<Scalar>&& x) = delete;  // it would not outlive the span

#endif

}  // namespace eigenformer::inline EIGENFORMER_ABI
