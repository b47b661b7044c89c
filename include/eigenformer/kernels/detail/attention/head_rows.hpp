// The memory layout of the heads of an operand: a matrix, or a tensor.
#pragma once

#include <vector>

#include "eigenformer/core/row_offsets.hpp"
#include "eigenformer/core/tensor.hpp"
#include "eigenformer/kernels/detail/gemm/operands.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

/// One operand of attention: its rows for each head, with any strides. Rows are numbered over all sequences of the
/// batch.
template <class Scalar>
struct HeadRows {
  Scalar* data = nullptr;
  Index head_stride = 0;
  Index row_stride = 0;
  Index col_stride = 0;
  Index width = 0;                // of a head
  const Index* shifts = nullptr;  // of a tensor: what to add to `data` for the rows of each sequence

  /// Returns the operand for rows of one sequence.
  HeadRows of(Index sequence) const {
    HeadRows own = *this;
    if (shifts != nullptr) own.data += shifts[sequence];
    return own;
  }
  /// Returns the address of one head's row.
  Scalar* row(Index head, Index row) const { return data + head * head_stride + row * row_stride; }
  /// Returns one head's columns, from row `first` on.
  Strided<std::remove_const_t<Scalar>> from(Index head, Index first) const {
    return {row(head, first), row_stride, col_stride};
  }
};

/// Returns the heads of a matrix view: blocks of columns, with any strides.
template <class Scalar>
HeadRows<Scalar> head_columns(const TensorView<Scalar>& matrix, Index heads) {
  const Index width = matrix.dimension(1) / heads;
  return {matrix.data(), width * matrix.stride(1), matrix.stride(0), matrix.stride(1), width};
}

/// Returns the heads of a matrix to be written: blocks of columns.
template <class Scalar>
HeadRows<Scalar> head_columns(MatrixRef<Scalar>& matrix, Index heads) {
  const Index width = matrix.cols() / heads;
  return {matrix.data(), width, matrix.outerStride(), 1, width};
}

/// The rows of an operand that is a matrix [rows x heads * width] or a tensor [batch x heads x tokens x width].
template <class Scalar>
class OperandRows {
 public:
  /// sequences: the rows of each sequence. In a tensor, a sequence's rows are the first tokens of its batch entry.
  OperandRows(const TensorView<Scalar>& x, Index heads, const RowOffsets& sequences) {
    if (x.rank() == 2) {
      rows_ = head_columns(x, heads);
      return;
    }
    const Sizes& strides = x.strides();
    rows_ = {x.data(), strides[1], strides[2], strides[3], x.shape()[3]};
    for (Index s = 0; s < x.shape()[0]; ++s) shifts_.push_back(s * strides[0] - sequences.begin(s) * strides[2]);
    rows_.shifts = shifts_.data();
  }
  OperandRows(const OperandRows&) = delete;
  OperandRows& operator=(const OperandRows&) = delete;

  const HeadRows<Scalar>& rows() const { return rows_; }

 private:
  HeadRows<Scalar> rows_;
  std::vector<Index> shifts_;
};

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
