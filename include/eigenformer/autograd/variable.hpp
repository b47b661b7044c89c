// A matrix in a computation: its value, and its place on the tape if one is recording.
#pragma once

#include <memory>
#include <type_traits>
#include <utility>

#include "eigenformer/core/check.hpp"
#include "eigenformer/core/workspace.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

template <class Scalar>
class Tape;

/// A value that operations take and give. Copies share the memory and cost no more than a shared_ptr; the value never
/// changes. Without a tape it is no more than a matrix, freed when its last copy goes.
template <class Scalar>
class Variable {
 public:
  Variable() = default;

  /// A constant: a copy of the given matrix, to which no gradient flows.
  template <class Derived>
  Variable(const Eigen::MatrixBase<Derived>& value)  // NOLINT: implicit, so that matrices can be passed to layers
      : Variable(Workspace::allocate_from_heap<Scalar>(value.size()), value.rows(), value.cols()) {
    constexpr bool fits = std::is_same_v<typename Derived::Scalar, Scalar>;
    static_assert(fits, "a Variable is of its matrix's scalar type: write x.cast<float>() where it is of float");
    if constexpr (fits) MatrixMap<Scalar>(data_.get(), rows_, cols_) = value;
  }

  /// A matrix in memory that is shared with the caller, who does not change it any more.
  Variable(std::shared_ptr<Scalar> data, Index rows, Index cols) : data_(std::move(data)), rows_(rows), cols_(cols) {}

  /// A constant over memory that the caller keeps alive and unchanged for as long as this is in use.
  static Variable view(const Scalar* data, Index rows, Index cols) {
    // Never written through: `writable` is for an operation that has just made its own memory.
    return {std::shared_ptr<Scalar>(std::shared_ptr<void>(), const_cast<Scalar*>(data)), rows, cols};
  }
  static Variable view(const Matrix<Scalar>& value) { return view(value.data(), value.rows(), value.cols()); }

  Index rows() const { return rows_; }
  Index cols() const { return cols_; }
  Index size() const { return rows_ * cols_; }

  /// The value, valid while a copy of this Variable lives.
  ConstMatrixMap<Scalar> value() const& { return {data_.get(), rows_, cols_}; }
  /// Of a temporary, a matrix of its own.
  Matrix<Scalar> value() && { return ConstMatrixMap<Scalar>(data_.get(), rows_, cols_); }
  /// The value of a [1 x 1], such as a loss.
  Scalar scalar() const {
    check(rows_ == 1 && cols_ == 1, "Variable::scalar: the value is ", shape(*this), ", expected [1 x 1]");
    return *data_;
  }

  /// Some of its rows, in the same memory. A constant: see slice_rows() in ops/rows.hpp.
  Variable middle_rows(Index first, Index count) const {
    return {std::shared_ptr<Scalar>(data_, data_.get() + first * cols_), count, cols_};
  }

  /// The same entries, in the same memory, in rows of another length. A constant: see reshape() in ops/arithmetic.hpp.
  Variable reshaped(Index rows, Index cols) const {
    check(rows * cols == size(), "Variable::reshaped: the value is ", shape(*this), ", given ", Shape{rows, cols});
    return {data_, rows, cols};
  }

  /// Whether a gradient flows to it.
  bool requires_grad() const { return tape_ != nullptr; }

  /// Its memory, for the operation that has just made it and has not yet given it away.
  MatrixMap<Scalar> writable() { return {data_.get(), rows_, cols_}; }

 private:
  friend class Tape<Scalar>;

  std::shared_ptr<Scalar> data_;
  Index rows_ = 0;
  Index cols_ = 0;
  const Tape<Scalar>* tape_ = nullptr;  // where it is recorded, in which recording, and as which node
  std::uint64_t recording_ = 0;
  Index node_ = 0;
};

template <class Scalar>
Shape shape(const Variable<Scalar>& x) {
  return {x.rows(), x.cols()};
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
