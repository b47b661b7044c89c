// Tensors: arrays of any rank up to eight that own their memory.
#pragma once

#include <concepts>
#include <utility>

#include "eigenformer/core/detail/strided_loop.hpp"
#include "eigenformer/core/tensor_view.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// Whether T is the type of a number.
template <class T>
concept Number = std::is_arithmetic_v<T> || std::is_same_v<T, Eigen::half> || std::is_same_v<T, Eigen::bfloat16>;

/// An expression that is computed when it is assigned to a tensor. See tensors/elementwise.hpp.
template <class T>
concept LazyTensor = requires(const T& x, TensorView<typename T::value_type> to) {
  { x.shape() } -> std::convertible_to<Sizes>;
  x.write_to(to);
};

/// The type of a tensor's, a view's or an expression's entries.
template <class T>
using ScalarOf = typename std::remove_cvref_t<T>::value_type;

template <class T>
inline constexpr bool is_tensor = false;
template <class Scalar>
inline constexpr bool is_tensor<Tensor<Scalar>> = true;
template <class Scalar>
inline constexpr bool is_tensor<TensorView<Scalar>> = true;
template <class Scalar>
inline constexpr bool is_tensor<TensorArray<Scalar>> = true;

/// Whether T, perhaps a reference, is a tensor, a view, what array() returns, or an expression of these.
template <class T>
concept TensorLike = is_tensor<std::remove_cvref_t<T>> || LazyTensor<std::remove_cvref_t<T>>;

/// A tensor that owns its memory, which is contiguous, row-major and aligned for Eigen. Scalar: float, double,
/// Eigen::half, Eigen::bfloat16, an integer type or bool.
///
///   Tensor<float> x({2, 3, 4});                            // zeros, [2 x 3 x 4]
///   x.matrix(1) = Eigen::MatrixXf::Random(3, 4);           // its matrices are Eigen maps
///   Tensor<float> y = x.transpose(1, 2) + 1.0F;            // see tensors/elementwise.hpp
///   TensorView<float> first = x.select(0, 0);              // a view, [3 x 4]: valid while x lives
///
/// Has the members of TensorView. On a temporary, reshape, flatten, squeeze and unsqueeze return a Tensor that takes
/// over the memory; matrix and row return copies; other functions that return a TensorView do not compile.
template <class Scalar>
class Tensor {
  static_assert(!std::is_const_v<Scalar>, "a tensor's entries are not const: write const Tensor<float>");

 public:
  using value_type = Scalar;
  using View = TensorView<Scalar>;
  using ConstView = TensorView<const Scalar>;

  /// A tensor of no entries, with the shape [0].
  Tensor() : shape_{0} {}
  /// Zeros. Throws if a size is negative.
  explicit Tensor(const Sizes& shape) : Tensor(shape, Scalar(0)) {}
  /// All entries are `value`.
  Tensor(const Sizes& shape, const Scalar& value) : shape_(shape), values_(count_of(shape)) {
    values_.setConstant(value);
  }
  /// Copies values in row-major order. Throws unless there are as many as the shape has entries.
  Tensor(const Sizes& shape, std::span<const Scalar> values) : Tensor(ConstView(values, shape)) {}
  /// Copies the entries of a view.
  explicit Tensor(const ConstView& view) : shape_(view.shape()), values_(view.size()) { view.copy_to(*this); }
  explicit Tensor(const View& view) : Tensor(ConstView(view)) {}
  /// Copies a matrix, or evaluates an Eigen expression: [rows x cols].
  template <class Derived>
  explicit Tensor(const Eigen::DenseBase<Derived>& matrix)
      : shape_{matrix.rows(), matrix.cols()}, values_(matrix.size()) {
    this->matrix() = matrix.derived().matrix();
  }
  /// Computes an expression of tensors. Not explicit, as in Eigen.
  template <LazyTensor Expression>
  requires(std::is_same_v<ScalarOf<Expression>, Scalar>) Tensor(const Expression& expression)
      : shape_(expression.shape()), values_(count_of(shape_)) {
    expression.write_to(view());
  }
  /// Returns a tensor whose entries are not initialised.
  static Tensor uninitialized(const Sizes& shape) {
    Tensor x;
    x.values_.resize(count_of(shape));
    x.shape_ = shape;
    return x;
  }

  // A moved-from tensor is empty.
  Tensor(const Tensor&) = default;
  Tensor& operator=(const Tensor&) = default;
  Tensor(Tensor&& other) noexcept : shape_(std::exchange(other.shape_, Sizes{0})), values_(std::move(other.values_)) {}
  Tensor& operator=(Tensor&& other) noexcept {
    if (this == &other) return *this;
    values_ = std::move(other.values_);
    other.values_.resize(0);
    shape_ = std::exchange(other.shape_, Sizes{0});
    return *this;
  }
  ~Tensor() = default;

  const Sizes& shape() const { return shape_; }
  Sizes strides() const { return contiguous_strides(shape_); }
  int rank() const { return shape_.rank(); }
  Index dimension(Index i) const { return shape_[dimension_number("dimension", i, rank())]; }
  Index stride(Index i) const { return strides()[dimension_number("stride", i, rank())]; }
  /// The number of entries.
  Index size() const { return values_.size(); }
  /// Whether the entries fill their memory without gaps, in the order of their indices: a tensor's always do.
  bool is_contiguous() const { return true; }
  Scalar* data() { return values_.data(); }
  const Scalar* data() const { return values_.data(); }

  View view() & { return *this; }
  ConstView view() const& { return *this; }
  void view() const&& = delete;

  /// The entry at these indices, one for each dimension. Of a temporary, a copy.
  template <class... Indices>
  Scalar& operator()(Indices... indices) & {
    return values_[place(indices...)];
  }
  template <class... Indices>
  const Scalar& operator()(Indices... indices) const& {
    return values_[place(indices...)];
  }
  template <class... Indices>
  Scalar operator()(Indices... indices) const&& {
    return values_[place(indices...)];
  }
  /// The only entry of a tensor; of a temporary, a copy. Throws if there are more, or none.
  Scalar& item() & { return view().item(); }
  const Scalar& item() const& { return view().item(); }
  Scalar item() const&& { return ConstView(*this).item(); }

  // Views: see TensorView. `&&` is deleted where a view of a temporary would be the result. The matrix or row of a
  // temporary is a copy.

  template <class... Indices>
  typename View::MatrixMap matrix(Indices... indices) & {
    return view().matrix(indices...);
  }
  template <class... Indices>
  typename ConstView::MatrixMap matrix(Indices... indices) const& {
    return view().matrix(indices...);
  }
  template <class... Indices>
  Matrix<Scalar> matrix(Indices... indices) const&& {
    return ConstView(*this).matrix(indices...);
  }
  template <class... Indices>
  typename View::RowMap row(Indices... indices) & {
    return view().row(indices...);
  }
  template <class... Indices>
  typename ConstView::RowMap row(Indices... indices) const& {
    return view().row(indices...);
  }
  template <class... Indices>
  Eigen::Matrix<Scalar, 1, Eigen::Dynamic> row(Indices... indices) const&& {
    return ConstView(*this).row(indices...);
  }
  TensorArray<Scalar> array() & { return view().array(); }
  TensorArray<const Scalar> array() const& { return view().array(); }
  void array() const&& = delete;

  View select(Index dimension, Index index) & { return view().select(dimension, index); }
  ConstView select(Index dimension, Index index) const& { return view().select(dimension, index); }
  void select(Index dimension, Index index) const&& = delete;
  View slice(Index dimension, const Slice& range) & { return view().slice(dimension, range); }
  ConstView slice(Index dimension, const Slice& range) const& { return view().slice(dimension, range); }
  void slice(Index dimension, const Slice& range) const&& = delete;
  View permute(const Sizes& order) & { return view().permute(order); }
  ConstView permute(const Sizes& order) const& { return view().permute(order); }
  void permute(const Sizes& order) const&& = delete;
  View transpose(Index a = -2, Index b = -1) & { return view().transpose(a, b); }
  ConstView transpose(Index a = -2, Index b = -1) const& { return view().transpose(a, b); }
  void transpose(Index a = -2, Index b = -1) const&& = delete;
  View reshape(const Sizes& shape) & { return view().reshape(shape); }
  ConstView reshape(const Sizes& shape) const& { return view().reshape(shape); }
  Tensor reshape(const Sizes& shape) && { return reshaped(view().reshape(shape).shape()); }
  void reshape(const Sizes& shape) const&& = delete;
  View flatten(Index first = 0, Index last = -1) & { return view().flatten(first, last); }
  ConstView flatten(Index first = 0, Index last = -1) const& { return view().flatten(first, last); }
  Tensor flatten(Index first = 0, Index last = -1) && { return reshaped(view().flatten(first, last).shape()); }
  void flatten(Index first = 0, Index last = -1) const&& = delete;
  View squeeze() & { return view().squeeze(); }
  ConstView squeeze() const& { return view().squeeze(); }
  Tensor squeeze() && { return reshaped(view().squeeze().shape()); }
  void squeeze() const&& = delete;
  View squeeze(Index dimension) & { return view().squeeze(dimension); }
  ConstView squeeze(Index dimension) const& { return view().squeeze(dimension); }
  Tensor squeeze(Index dimension) && { return reshaped(view().squeeze(dimension).shape()); }
  void squeeze(Index dimension) const&& = delete;
  View unsqueeze(Index dimension) & { return view().unsqueeze(dimension); }
  ConstView unsqueeze(Index dimension) const& { return view().unsqueeze(dimension); }
  Tensor unsqueeze(Index dimension) && { return reshaped(view().unsqueeze(dimension).shape()); }
  void unsqueeze(Index dimension) const&& = delete;
  View expand(const Sizes& shape) & { return view().expand(shape); }
  ConstView expand(const Sizes& shape) const& { return view().expand(shape); }
  void expand(const Sizes& shape) const&& = delete;
  View diagonal(Index a = -2, Index b = -1) & { return view().diagonal(a, b); }
  ConstView diagonal(Index a = -2, Index b = -1) const& { return view().diagonal(a, b); }
  void diagonal(Index a = -2, Index b = -1) const&& = delete;
  std::vector<View> split(Index size, Index dimension = 0) & { return view().split(size, dimension); }
  std::vector<ConstView> split(Index size, Index dimension = 0) const& { return view().split(size, dimension); }
  void split(Index size, Index dimension = 0) const&& = delete;
  std::vector<View> split(std::span<const Index> sizes, Index dimension = 0) & {
    return view().split(sizes, dimension);
  }
  std::vector<ConstView> split(std::span<const Index> sizes, Index dimension = 0) const& {
    return view().split(sizes, dimension);
  }
  void split(std::span<const Index> sizes, Index dimension = 0) const&& = delete;

  /// Returns a copy.
  Tensor contiguous() const { return *this; }
  /// Returns a copy with entries of another type.
  template <class Other>
  Tensor<Other> cast() const {
    return view().template cast<Other>();
  }
  /// Writes the entries to a view of the same shape, or of one to which this shape broadcasts.
  void copy_to(const View& to) const { view().copy_to(to); }

 private:
  template <class... Indices>
  Index place(Indices... indices) const {
    eigen_assert(static_cast<int>(sizeof...(Indices)) == rank());
    Index place = 0;
    int i = 0;
    ((place = place * shape_[i] + inside(i, static_cast<Index>(indices)), ++i), ...);
    return place;
  }
  Index inside(int i, Index index) const {
    eigen_assert(index >= -shape_[i] && index < shape_[i]);
    return index < 0 ? index + shape_[i] : index;
  }
  Tensor reshaped(const Sizes& shape) {
    Tensor y = std::move(*this);
    y.shape_ = shape;
    return y;
  }

  Sizes shape_;
  Eigen::Matrix<Scalar, Eigen::Dynamic, 1> values_;
};

template <class Scalar>
TensorView(Tensor<Scalar>&) -> TensorView<Scalar>;
template <class Scalar>
TensorView(const Tensor<Scalar>&) -> TensorView<const Scalar>;
template <class Scalar>
Tensor(TensorView<const Scalar>) -> Tensor<Scalar>;
template <class Scalar>
Tensor(TensorView<Scalar>) -> Tensor<Scalar>;
template <LazyTensor Expression>
Tensor(Expression) -> Tensor<ScalarOf<Expression>>;

template <class Scalar>
Tensor<std::remove_const_t<Scalar>> TensorView<Scalar>::contiguous() const {
  return Tensor<value_type>(*this);
}

template <class Scalar>
template <class Other>
Tensor<Other> TensorView<Scalar>::cast() const {
  Tensor<Other> copy = Tensor<Other>::uninitialized(shape_);
  detail::copy_entries(TensorView<const value_type>(*this), copy.view());
  return copy;
}

template <class Scalar>
void TensorView<Scalar>::copy_to(const TensorView<value_type>& to) const {
  detail::copy_entries(TensorView<const value_type>(*this), to);
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
