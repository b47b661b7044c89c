// Views of tensors: a shape and strides over memory that somebody else owns. Views select, slice, reorder and reshape
// without copying.
#pragma once

#include <algorithm>
#include <limits>
#include <span>
#include <type_traits>
#include <vector>

#include "eigenformer/core/detail/strided_layout.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

template <class Scalar>
class Tensor;

/// Whether an expression's entries lie in memory and data() points to them. DirectAccessBit alone does not tell: Eigen
/// 3.4 sets it for an IndexedView too, which has no data().
template <class Derived>
inline constexpr bool has_memory = (Derived::Flags & Eigen::DirectAccessBit) != 0 && requires(const Derived& matrix) {
  matrix.data();
};

/// The entries of a tensor or a view as the target of an assignment: what array() returns. See tensors/elementwise.hpp.
template <class Scalar>
class TensorArray;

/// A shape and strides over memory that the caller owns. Strides count entries; they may be zero or negative. `Scalar`
/// may be const. A view is copied and assigned like a pointer: after `a = b`, a views the entries of b. To write
/// entries, use array().
///
/// Negative dimensions and indices count from the end. Invalid ones throw; in operator() they only assert.
template <class Scalar>
class TensorView {
  template <class Type>
  using ConstLike = std::conditional_t<std::is_const_v<Scalar>, const Type, Type>;

 public:
  /// The type of the entries, without const.
  using value_type = std::remove_const_t<Scalar>;
  /// A strided matrix and a strided row in the view's memory.
  using MatrixMap =
      Eigen::Map<ConstLike<Matrix<value_type>>, Eigen::Unaligned, Eigen::Stride<Eigen::Dynamic, Eigen::Dynamic>>;
  using RowMap = Eigen::Map<ConstLike<Eigen::Matrix<value_type, 1, Eigen::Dynamic>>, Eigen::Unaligned,
                            Eigen::InnerStride<Eigen::Dynamic>>;

  /// A view of no entries: null, with the shape [0].
  TensorView() : shape_{0}, strides_{1} {}
  TensorView(const TensorView&) = default;
  // Only for lvalues: x.select(0, 0) = y would make a temporary view show y, and write no entry.
  TensorView& operator=(const TensorView&) & = default;
  /// Views memory with any strides. Throws if the ranks of shape and strides differ, or a size is negative.
  TensorView(Scalar* data, const Sizes& shape, const Sizes& strides) : data_(data), shape_(shape), strides_(strides) {
    check(shape.rank() == strides.rank(), "TensorView: the shape is ", shape, ", the strides are ", strides);
    check(std::all_of(shape.begin(), shape.end(), [](Index n) { return n >= 0; }), "TensorView: the shape is ", shape,
          ", expected sizes of 0 or more");
  }
  /// Views contiguous memory in row-major order.
  TensorView(Scalar* data, const Sizes& shape) : TensorView(data, shape, contiguous_strides(shape)) {}
  /// Views the elements of a span, a vector or an array in row-major order. Throws unless there are as many as the
  /// shape has entries.
  TensorView(std::span<Scalar> values, const Sizes& shape) : TensorView(values.data(), shape) {
    check(static_cast<Index>(values.size()) == count_of(shape), "TensorView: ", values.size(), " values, the shape is ",
          shape);
  }
  /// Views a matrix, map, block or transpose in place, with its rows and columns as dimensions.
  template <class Derived>
  requires(std::is_const_v<Scalar>) TensorView(const Eigen::DenseBase<Derived>& matrix)
      : TensorView(of_matrix(matrix.derived())) {}
  template <class Derived>
  requires(!std::is_const_v<Scalar>) TensorView(Eigen::DenseBase<Derived>& matrix)
      : TensorView(of_matrix(matrix.derived())) {}
  template <class Derived>
  requires(!std::is_const_v<Scalar>) TensorView(Eigen::DenseBase<Derived>&& block)
      : TensorView(of_matrix(block.derived())) {}
  template <class Derived>
  TensorView(const Eigen::PlainObjectBase<Derived>&& matrix) = delete;  // it would not outlive the view

  // Views of tensors: see core/tensor.hpp.
  TensorView(Tensor<value_type>& tensor) : TensorView(tensor.data(), tensor.shape()) {}
  TensorView(const Tensor<value_type>& tensor) requires(std::is_const_v<Scalar>)
      : TensorView(tensor.data(), tensor.shape()) {}
  TensorView(const Tensor<value_type>&& tensor) = delete;  // it would not outlive the view

  /// Converts a writable view to a read-only one.
  operator TensorView<const Scalar>() const requires(!std::is_const_v<Scalar>) { return {data_, shape_, strides_}; }

  Scalar* data() const { return data_; }
  const Sizes& shape() const { return shape_; }
  const Sizes& strides() const { return strides_; }
  int rank() const { return shape_.rank(); }
  Index dimension(Index i) const { return shape_[dimension_number("dimension", i, rank())]; }
  Index stride(Index i) const { return strides_[dimension_number("stride", i, rank())]; }
  /// The number of entries.
  Index size() const { return count_of(shape_); }
  /// Whether the entries fill their memory without gaps, in the order of their indices.
  bool is_contiguous() const { return detail::is_contiguous(layout()); }

  /// The entry at these indices, one for each dimension.
  template <class... Indices>
  Scalar& operator()(Indices... indices) const {
    eigen_assert(static_cast<int>(sizeof...(Indices)) == rank());
    Index offset = 0;
    int i = 0;
    ((offset += place(i, static_cast<Index>(indices)) * strides_[i], ++i), ...);
    return data_[offset];
  }
  /// The only entry of a tensor. Throws if there are more, or none.
  Scalar& item() const {
    check(size() == 1, "item: a tensor ", shape_, ", expected one entry");
    return *data_;
  }

  /// The matrix of the last two dimensions, at the given indices of the others. Throws for wrong indices.
  template <class... Indices>
  MatrixMap matrix(Indices... indices) const {
    const TensorView m = at("matrix", sizeof...(Indices) + 2, indices...);
    return MatrixMap(m.data_, m.shape_[0], m.shape_[1],
                     Eigen::Stride<Eigen::Dynamic, Eigen::Dynamic>(m.strides_[0], m.strides_[1]));
  }
  /// The row of the last dimension, at the given indices of the others. Throws for wrong indices.
  template <class... Indices>
  RowMap row(Indices... indices) const {
    const TensorView r = at("row", sizeof...(Indices) + 1, indices...);
    return RowMap(r.data_, r.shape_[0], Eigen::InnerStride<Eigen::Dynamic>(r.strides_[0]));
  }
  /// The entries, to be written: `x.array() += y`. See tensors/elementwise.hpp.
  TensorArray<Scalar> array() const { return TensorArray<Scalar>(*this); }

  // Other views of the same entries. None copies.

  /// Chooses one index of a dimension, and removes it.
  TensorView select(Index dimension, Index index) const { return with(detail::select(layout(), dimension, index)); }
  /// Keeps a range of a dimension, as Python's [begin:end:step]: x.slice(1, {.begin = 2, .end = -1}).
  TensorView slice(Index dimension, const Slice& range) const {
    return with(detail::slice(layout(), dimension, range));
  }
  /// Reorders the dimensions: dimension i of the result is dimension order[i].
  TensorView permute(const Sizes& order) const { return with(detail::permute(layout(), order)); }
  /// Exchanges two dimensions; by default the last two.
  TensorView transpose(Index a = -2, Index b = -1) const { return with(detail::transpose(layout(), a, b)); }
  /// Reshapes. One size may be -1 and is inferred. Throws if the counts of entries differ or a copy is needed.
  TensorView reshape(const Sizes& shape) const { return with(detail::reshape(layout(), shape)); }
  /// Merges dimensions `first` to `last` into one. Throws if that needs a copy.
  TensorView flatten(Index first = 0, Index last = -1) const {
    return reshape(detail::flattened_shape(shape_, first, last));
  }
  /// Removes all dimensions of one entry, or a given one if it has one entry.
  TensorView squeeze() const { return with(detail::squeeze(layout())); }
  TensorView squeeze(Index dimension) const { return with(detail::squeeze(layout(), dimension)); }
  /// Adds a dimension of one entry before `dimension`; -1 adds it behind the last.
  TensorView unsqueeze(Index dimension) const { return with(detail::unsqueeze(layout(), dimension)); }
  /// Repeats the entries of dimensions of size 1, and adds dimensions before the first. -1 keeps a size. The result is
  /// for reading: its entries share memory.
  TensorView expand(const Sizes& shape) const { return with(detail::expand(layout(), shape)); }
  /// Takes the entries at which two dimensions have the same index, as a new last dimension.
  TensorView diagonal(Index a = -2, Index b = -1) const { return with(detail::diagonal(layout(), a, b)); }
  /// Cuts a dimension into pieces of `size` entries; the last may be shorter.
  std::vector<TensorView> split(Index size, Index dimension = 0) const {
    const Index n = shape_[dimension_number("split", dimension, rank())];
    check(size > 0, "split: pieces of ", size, " entries, expected 1 or more");
    std::vector<TensorView> pieces;
    for (Index begin = 0; begin == 0 || begin < n; begin += size)
      pieces.push_back(slice(dimension, {.begin = begin, .end = std::min<Index>(n, begin + size)}));
    return pieces;
  }
  /// Cuts a dimension into pieces of the given sizes. Throws if their sum is not the dimension's size.
  std::vector<TensorView> split(std::span<const Index> sizes, Index dimension = 0) const {
    const Index n = shape_[dimension_number("split", dimension, rank())];
    Index begin = 0;
    std::vector<TensorView> pieces;
    for (const Index size : sizes) {
      check(size >= 0 && size <= (std::numeric_limits<Index>::max)() - begin, "split: a piece of ", size, " entries");
      pieces.push_back(slice(dimension, {.begin = begin, .end = begin + size}));
      begin += size;
    }
    check(begin == n, "split: pieces of ", begin, " entries in all, the dimension has ", n);
    return pieces;
  }

  // Copies: see core/tensor.hpp.

  /// Returns a contiguous copy.
  Tensor<value_type> contiguous() const;
  /// Returns a contiguous copy with entries of another type.
  template <class Other>
  Tensor<Other> cast() const;
  /// Writes the entries to a view of the same shape, or of one to which this shape broadcasts. The memory may overlap.
  void copy_to(const TensorView<value_type>& to) const;

 private:
  template <class>
  friend class TensorView;

  template <class Derived>
  static TensorView of_matrix(Derived& m) {
    static_assert(has_memory<std::remove_const_t<Derived>>, "an expression has no memory to view: evaluate it");
    if constexpr (has_memory<std::remove_const_t<Derived>>) {
      const Index row_stride = Derived::IsRowMajor ? m.outerStride() : m.innerStride();
      const Index col_stride = Derived::IsRowMajor ? m.innerStride() : m.outerStride();
      return TensorView(m.data(), {m.rows(), m.cols()}, {row_stride, col_stride});
    } else {
      return TensorView();
    }
  }

  auto layout() const { return detail::StridedLayout{shape_, strides_}; }
  template <class Layout>
  TensorView with(const Layout& x) const {
    return {moved(x.offset), x.shape, x.strides};
  }
  // An empty view's data may be null, which must not be moved.
  Scalar* moved(Index offset) const { return data_ == nullptr ? nullptr : data_ + offset; }
  Index place(int i, Index index) const {
    eigen_assert(index >= -shape_[i] && index < shape_[i]);
    return index < 0 ? index + shape_[i] : index;
  }
  template <class... Indices>
  TensorView at(const char* where, std::size_t expected_rank, Indices... indices) const {
    const int dimensions_left = static_cast<int>(expected_rank - sizeof...(Indices));  // in the result
    check(rank() >= dimensions_left, where, ": the tensor is ", shape_, ", expected ", dimensions_left,
          dimensions_left == 1 ? " dimension or more" : " dimensions or more");
    check(shape_.size() == expected_rank, where, ": the number of indices is ", sizeof...(Indices), ", the tensor is ",
          shape_, ", expected ", rank() - dimensions_left);
    [[maybe_unused]] int i = 0;
    Index offset = 0;
    ((offset += detail::checked_index(where, static_cast<Index>(indices), shape_[i]) * strides_[i], ++i), ...);
    const std::span<const Index> last_sizes(shape_.begin() + sizeof...(Indices), shape_.end());
    const std::span<const Index> last_strides(strides_.begin() + sizeof...(Indices), strides_.end());
    return {moved(offset), Sizes(last_sizes), Sizes(last_strides)};
  }

  Scalar* data_ = nullptr;
  Sizes shape_;
  Sizes strides_;
};

/// Returns a read-only view of an Eigen matrix, map, block or transpose in place, without a copy.
template <class Derived>
auto strided_view(const Eigen::DenseBase<Derived>& matrix) {
  return TensorView<const typename Derived::Scalar>(matrix);
}
template <class Derived>
auto strided_view(const Eigen::PlainObjectBase<Derived>&& matrix) = delete;  // it would not outlive the view

}  // namespace eigenformer::inline EIGENFORMER_ABI
