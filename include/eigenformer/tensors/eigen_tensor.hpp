// Eigen's own tensors (unsupported/Eigen/CXX11/Tensor) as views, and views as Eigen's tensors. Nothing is copied.
//
//   Eigen::Tensor<float, 3> a(2, 3, 4);       // column-major
//   TensorView<float> x = tensor_view(a);     // [2 x 3 x 4], x(i, j, k) is a(i, j, k)
//   Tensor<float> y({2, 3, 4});
//   auto b = eigen_tensor_map<3>(y);          // an Eigen::TensorMap; b(i, j, k) is y(i, j, k)
//
// This header is optional: eigenformer.hpp does not include it, because Eigen's tensors take long to compile.
#pragma once

#include <type_traits>
#include <unsupported/Eigen/CXX11/Tensor>
#include <utility>

#include "eigenformer/core/tensor.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

namespace detail {

/// Returns a view of an Eigen tensor or map. `data` decides whether its entries may be written.
template <class Scalar, class EigenTensor>
TensorView<Scalar> view_of_eigen_tensor(Scalar* data, const EigenTensor& x) {
  constexpr int rank = EigenTensor::NumIndices;
  static_assert(rank <= Sizes::max_rank, "an Eigen tensor of more than eight dimensions has no view");
  const Sizes shape = [&]<std::size_t... i>(std::index_sequence<i...>) {
    return Sizes{static_cast<Index>(x.dimension(i))...};
  }
  (std::make_index_sequence<static_cast<std::size_t>(rank)>());
  if constexpr (static_cast<int>(EigenTensor::Layout) == static_cast<int>(Eigen::RowMajor)) {
    return TensorView<Scalar>(data, shape);
  } else {
    Sizes strides = Sizes::of_rank(rank);
    Index stride = 1;
    for (int i = 0; i < rank; stride *= shape[i++]) strides[i] = stride;
    return TensorView<Scalar>(data, shape, strides);
  }
}

/// Whether the view's entries are contiguous in this storage order, as an Eigen tensor's are.
template <class Scalar>
bool lies_as_eigen_tensor(const TensorView<Scalar>& x, bool row_major) {
  Sizes reversed = Sizes::of_rank(x.rank());
  for (int i = 0; i < x.rank(); ++i) reversed[i] = x.rank() - 1 - i;
  return (row_major ? x : x.permute(reversed)).is_contiguous();
}

}  // namespace detail

/// Returns a view of an Eigen tensor or map in place. A column-major tensor gets column-major strides, so that indices
/// mean the same in both. A map of const entries, or a const tensor, gives a view of const entries.
template <class Scalar, int rank, int options, class IndexType>
TensorView<Scalar> tensor_view(Eigen::Tensor<Scalar, rank, options, IndexType>& x) {
  return detail::view_of_eigen_tensor(x.data(), x);
}
template <class Scalar, int rank, int options, class IndexType>
TensorView<const Scalar> tensor_view(const Eigen::Tensor<Scalar, rank, options, IndexType>& x) {
  return detail::view_of_eigen_tensor(x.data(), x);
}
template <class Scalar, int rank, int options, class IndexType>
void tensor_view(const Eigen::Tensor<Scalar, rank, options, IndexType>&& x) = delete;  // it would not outlive the view
template <class Scalar, class Dimensions, int options, class IndexType>
TensorView<Scalar> tensor_view(Eigen::TensorFixedSize<Scalar, Dimensions, options, IndexType>& x) {
  return detail::view_of_eigen_tensor(x.data(), x);
}
template <class Scalar, class Dimensions, int options, class IndexType>
TensorView<const Scalar> tensor_view(const Eigen::TensorFixedSize<Scalar, Dimensions, options, IndexType>& x) {
  return detail::view_of_eigen_tensor(x.data(), x);
}
template <class Scalar, class Dimensions, int options, class IndexType>
void tensor_view(const Eigen::TensorFixedSize<Scalar, Dimensions, options, IndexType>&& x) = delete;
// A map is a pointer: a temporary one may be viewed, and a const one may be written through.
template <class Plain, int options, template <class> class MakePointer>
auto tensor_view(const Eigen::TensorMap<Plain, options, MakePointer>& x) {
  return detail::view_of_eigen_tensor(x.data(), x);
}

/// The Eigen::TensorMap of `rank` dimensions over a view's entries. order: Eigen::RowMajor or Eigen::ColMajor.
template <class Scalar, int rank, int order>
using EigenTensorMap = Eigen::TensorMap<
    std::conditional_t<std::is_const_v<Scalar>, const Eigen::Tensor<std::remove_const_t<Scalar>, rank, order, Index>,
                       Eigen::Tensor<Scalar, rank, order, Index>>>;

/// Returns an Eigen::TensorMap of a tensor's or a view's entries in place: eigen_tensor_map<3>(x). Throws if x has
/// another rank. Throws if the entries are not contiguous in the given order, because a TensorMap has no strides: pass
/// x.contiguous(), kept in a variable.
template <int rank, int order = Eigen::RowMajor, class Scalar>
EigenTensorMap<Scalar, rank, order> eigen_tensor_map(const TensorView<Scalar>& x) {
  check(x.rank() == rank, "eigen_tensor_map: a tensor ", x.shape(), ", expected ", rank, " dimensions");
  check(detail::lies_as_eigen_tensor(x, order == Eigen::RowMajor), "eigen_tensor_map: a tensor ", x.shape(),
        " with strides ", x.strides(), ", expected contiguous entries, ",
        order == Eigen::RowMajor ? "the last" : "the first", " dimension's next to each other");
  Eigen::DSizes<Index, rank> dimensions;
  for (int i = 0; i < rank; ++i) dimensions[static_cast<std::size_t>(i)] = x.shape()[i];
  return EigenTensorMap<Scalar, rank, order>(x.data(), dimensions);
}
template <int rank, class Scalar>
EigenTensorMap<Scalar, rank, Eigen::RowMajor> eigen_tensor_map(Tensor<Scalar>& x) {
  return eigen_tensor_map<rank>(x.view());
}
template <int rank, class Scalar>
EigenTensorMap<const Scalar, rank, Eigen::RowMajor> eigen_tensor_map(const Tensor<Scalar>& x) {
  return eigen_tensor_map<rank>(x.view());
}
template <int rank, class Scalar>
void eigen_tensor_map(const Tensor<Scalar>&& x) = delete;  // it would not outlive the map

}  // namespace eigenformer::inline EIGENFORMER_ABI
