// Arrays of more than two dimensions. Most of the library works on matrices. A tensor describes other memory layouts,
// such as [batch x heads x tokens x width], and gives access to its matrices as Eigen maps.
#pragma once

#include <array>

#include "eigenformer/core/check.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// A shape and strides over memory that the caller owns. Strides count elements. `Scalar` may be const.
template <class Scalar, int Rank>
class TensorView {
  static_assert(Rank >= 1, "a tensor has at least one dimension");

 public:
  using Sizes = std::array<Index, static_cast<std::size_t>(Rank)>;
  using MatrixType = std::conditional_t<std::is_const_v<Scalar>, const Matrix<std::remove_const_t<Scalar>>,
                                        Matrix<std::remove_const_t<Scalar>>>;
  using StridedMap = Eigen::Map<MatrixType, Eigen::Unaligned, Eigen::Stride<Eigen::Dynamic, Eigen::Dynamic>>;

  TensorView() = default;
  TensorView(Scalar* data, const Sizes& shape, const Sizes& strides) : data_(data), shape_(shape), strides_(strides) {}

  /// Views contiguous memory; the last dimension varies fastest.
  TensorView(Scalar* data, const Sizes& shape) : TensorView(data, shape, contiguous_strides(shape)) {}

  /// Converts a writable view to a read-only one.
  operator TensorView<const Scalar, Rank>() const requires(!std::is_const_v<Scalar>) {
    return {data_, shape_, strides_};
  }

  Scalar* data() const { return data_; }
  const Sizes& shape() const { return shape_; }
  const Sizes& strides() const { return strides_; }
  Index dimension(int i) const { return shape_[static_cast<std::size_t>(i)]; }
  Index stride(int i) const { return strides_[static_cast<std::size_t>(i)]; }
  Index size() const {
    Index size = 1;
    for (const Index n : shape_) size *= n;
    return size;
  }

  template <class... Indices>
  requires(sizeof...(Indices) == Rank) Scalar& operator()(Indices... indices) const {
    return data_[offset({static_cast<Index>(indices)...})];
  }

  /// Returns the matrix of the last two dimensions, at the given indices of the leading ones.
  template <class... Indices>
  requires(Rank >= 2 && sizeof...(Indices) == Rank - 2) StridedMap matrix(Indices... indices)
  const {
    return StridedMap(data_ + offset({static_cast<Index>(indices)..., 0, 0}), dimension(Rank - 2), dimension(Rank - 1),
                      Eigen::Stride<Eigen::Dynamic, Eigen::Dynamic>(stride(Rank - 2), stride(Rank - 1)));
  }

  static Sizes contiguous_strides(const Sizes& shape) {
    Sizes strides{};
    Index stride = 1;
    for (std::size_t i = shape.size(); i-- > 0; stride *= shape[i]) strides[i] = stride;
    return strides;
  }

 private:
  Index offset(const Sizes& indices) const {
    Index offset = 0;
    for (std::size_t i = 0; i < indices.size(); ++i) {
      eigen_assert(indices[i] >= 0 && (indices[i] < shape_[i] || shape_[i] == 0));
      offset += indices[i] * strides_[i];
    }
    return offset;
  }

  Scalar* data_ = nullptr;
  Sizes shape_{};
  Sizes strides_{};
};

/// Whether an expression's entries lie in memory and data() points to them. DirectAccessBit alone does not tell: Eigen
/// 3.4 sets it for an IndexedView too, which has no data().
template <class Derived>
inline constexpr bool has_memory = (Derived::Flags & Eigen::DirectAccessBit) != 0 && requires(const Derived& matrix) {
  matrix.data();
};

/// Returns a view of an Eigen matrix, map, block or transpose in place, without a copy.
template <class Derived>
auto strided_view(const Eigen::DenseBase<Derived>& matrix) {
  static_assert(has_memory<Derived>, "an expression has no memory to view: evaluate it");
  using View = TensorView<const typename Derived::Scalar, 2>;
  if constexpr (has_memory<Derived>) {
    const Derived& m = matrix.derived();
    const Index row_stride = Derived::IsRowMajor ? m.outerStride() : m.innerStride();
    const Index col_stride = Derived::IsRowMajor ? m.innerStride() : m.outerStride();
    return View(m.data(), {m.rows(), m.cols()}, {row_stride, col_stride});
  } else {
    return View();
  }
}

/// A tensor that owns its memory, which is contiguous, aligned for Eigen and initially zero.
template <class Scalar, int Rank>
class Tensor {
 public:
  using Sizes = typename TensorView<Scalar, Rank>::Sizes;

  Tensor() = default;
  explicit Tensor(const Sizes& shape) : shape_(shape) {
    Index size = 1;
    for (const Index n : shape) {
      check(n >= 0, "Tensor: a dimension is ", n, ", expected 0 or more");
      size *= n;
    }
    values_.setZero(size);
  }

  const Sizes& shape() const { return shape_; }
  Index dimension(int i) const { return shape_[static_cast<std::size_t>(i)]; }
  Index size() const { return values_.size(); }
  Scalar* data() { return values_.data(); }
  const Scalar* data() const { return values_.data(); }

  TensorView<Scalar, Rank> view() { return {data(), shape_}; }
  TensorView<const Scalar, Rank> view() const { return {data(), shape_}; }

  template <class... Indices>
  Scalar& operator()(Indices... indices) {
    return view()(indices...);
  }
  template <class... Indices>
  const Scalar& operator()(Indices... indices) const {
    return view()(indices...);
  }
  template <class... Indices>
  auto matrix(Indices... indices) {
    return view().matrix(indices...);
  }
  template <class... Indices>
  auto matrix(Indices... indices) const {
    return view().matrix(indices...);
  }

 private:
  Sizes shape_{};
  Eigen::Matrix<Scalar, Eigen::Dynamic, 1> values_;
};

}  // namespace eigenformer::inline EIGENFORMER_ABI
