// A matrix or tensor in a computation: its value, and its node on the tape if one is recording.
#pragma once

#include <memory>
#include <type_traits>
#include <utility>

#include "eigenformer/core/tensor.hpp"
#include "eigenformer/core/workspace.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

template <class Scalar>
class Tape;

/// What operations take and return: a matrix or a tensor of any rank. A tensor is stored as a matrix: its last
/// dimension is the columns, all others are flattened into rows. So operations on rows also work on tensors. The value
/// never changes. Copies share the memory and are as cheap as copies of a shared_ptr. Without a tape, the memory is
/// freed with the last copy.
template <class Scalar>
class Variable {
 public:
  Variable() = default;
  Variable(const Variable&) = default;
  Variable& operator=(const Variable&) = default;
  ~Variable() = default;
  /// Takes the value of `other` and its place on the tape. Leaves `other` empty.
  Variable(Variable&& other) noexcept { swap(other); }
  /// Takes the value of `other` and its place on the tape. Leaves `other` empty.
  Variable& operator=(Variable&& other) noexcept {
    Variable moved(std::move(other));
    swap(moved);
    return *this;
  }

  /// Copies a matrix into a constant, which has no gradient.
  template <class Derived>
  Variable(const Eigen::MatrixBase<Derived>& value)  // NOLINT: implicit, so that matrices can be passed to layers
      : Variable(Workspace::allocate_from_heap<Scalar>(value.size()), value.rows(), value.cols()) {
    constexpr bool fits = std::is_same_v<typename Derived::Scalar, Scalar>;
    static_assert(fits, "a Variable and its matrix have one scalar type: for Variable<float> write x.cast<float>()");
    if constexpr (fits) MatrixMap<Scalar>(data_.get(), rows_, cols_) = value;
  }

  /// Copies a tensor into a constant, which has no gradient.
  Variable(const Tensor<Scalar>& value)  // NOLINT: implicit
      : Variable(Workspace::allocate_from_heap<Scalar>(value.size()), value.shape()) {
    value.copy_to(TensorView<Scalar>(data_.get(), value.shape()));
  }

  /// Wraps memory shared with the caller, who must not change it any more.
  Variable(std::shared_ptr<Scalar> data, Index rows, Index cols) : data_(std::move(data)), rows_(rows), cols_(cols) {}
  Variable(std::shared_ptr<Scalar> data, const Sizes& shape) : data_(std::move(data)) { set_sizes(shape); }

  /// Returns a constant over memory that the caller must keep alive and unchanged while it is in use.
  static Variable view(const Scalar* data, Index rows, Index cols) {
    // The cast is safe: `writable` is called only by operations on memory that they have just allocated.
    return {std::shared_ptr<Scalar>(std::shared_ptr<void>(), const_cast<Scalar*>(data)), rows, cols};
  }
  static Variable view(const Matrix<Scalar>& value) { return view(value.data(), value.rows(), value.cols()); }
  static Variable view(const Matrix<Scalar>&& value) = delete;  // it would not outlive the view

  Index rows() const { return rows_; }
  Index cols() const { return cols_; }
  Index size() const { return rows_ * cols_; }
  /// Whether the value is a tensor of a rank other than 2.
  bool is_tensor() const { return sizes_ != nullptr; }
  /// The shape as a tensor; [rows x cols] for a matrix.
  Sizes sizes() const { return sizes_ == nullptr ? Sizes{rows_, cols_} : *sizes_; }

  /// Returns the value, valid while a copy of this Variable exists.
  ConstMatrixMap<Scalar> value() const& { return {data_.get(), rows_, cols_}; }
  /// Returns a copy of a temporary's value.
  Matrix<Scalar> value() && { return ConstMatrixMap<Scalar>(data_.get(), rows_, cols_); }
  /// Returns the value as a tensor, valid while a copy of this Variable exists.
  TensorView<const Scalar> tensor() const& { return {data_.get(), sizes()}; }
  /// Returns a copy of a temporary's value.
  Tensor<Scalar> tensor() && { return Tensor<Scalar>(TensorView<const Scalar>(data_.get(), sizes())); }
  /// Returns the value of a [1 x 1] Variable, such as a loss. Throws for any other shape.
  Scalar scalar() const {
    check(rows_ == 1 && cols_ == 1, "Variable::scalar: the value is ", shape(*this), ", expected [1 x 1]");
    return *data_;
  }

  /// Returns rows first .. first + count - 1 in the same memory, as a constant. slice_rows() in ops/rows.hpp is
  /// differentiable. Throws if there are no such rows.
  Variable middle_rows(Index first, Index count) const {
    check(first >= 0 && count >= 0 && count <= rows_ - first, "Variable::middle_rows: ", count, " rows from row ",
          first, " on, expected a range inside ", shape(*this));
    return {std::shared_ptr<Scalar>(data_, data_.get() + first * cols_), count, cols_};
  }

  /// Returns the entries as a [rows x cols] matrix in the same memory, as a constant. reshape() in ops/arithmetic.hpp
  /// is differentiable. Throws if the sizes differ or are negative.
  Variable reshaped(Index rows, Index cols) const {
    check(rows >= 0 && cols >= 0 && count_of({rows, cols}) == size(), "Variable::reshaped: the value is ", shape(*this),
          ", given ", Shape{rows, cols});
    return {data_, rows, cols};
  }
  /// Returns the entries as a tensor in the same memory, as a constant. Throws if the sizes differ.
  Variable reshaped(const Sizes& shape) const {
    check(count_of(shape) == size(), "Variable::reshaped: the value is ", sizes(), ", given ", shape);
    return {data_, shape};
  }

  /// Whether gradients are computed for it.
  bool requires_grad() const { return tape_ != nullptr; }

  /// Returns its memory for writing. Only for the operation that has just allocated it and not yet returned it.
  MatrixMap<Scalar> writable() { return {data_.get(), rows_, cols_}; }
  TensorView<Scalar> writable_tensor() { return {data_.get(), sizes()}; }

 private:
  friend class Tape<Scalar>;

  void swap(Variable& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(rows_, other.rows_);
    std::swap(cols_, other.cols_);
    std::swap(sizes_, other.sizes_);
    std::swap(tape_, other.tape_);
    std::swap(recording_, other.recording_);
    std::swap(node_, other.node_);
  }

  void set_sizes(const Sizes& shape) {
    Sizes leading = shape;
    if (shape.rank() > 0) leading.pop_back();
    rows_ = count_of(leading);  // throws if they are too many, which a size of 0 in the last dimension may hide
    cols_ = shape.rank() == 0 ? 1 : shape[shape.rank() - 1];
    if (shape.rank() != 2) sizes_ = std::make_shared<const Sizes>(shape);
  }

  std::shared_ptr<Scalar> data_;
  Index rows_ = 0;
  Index cols_ = 0;
  std::shared_ptr<const Sizes> sizes_;  // null for a matrix
  const Tape<Scalar>* tape_ = nullptr;  // the tape, recording and node where it is recorded
  std::uint64_t recording_ = 0;
  Index node_ = 0;
};

template <class Scalar>
Shape shape(const Variable<Scalar>& x) {
  return {x.rows(), x.cols()};
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
