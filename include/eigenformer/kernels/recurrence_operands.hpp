// What the forward and the backward of a recurrent layer read and write.
#pragma once

#include "eigenformer/core/row_offsets.hpp"
#include "eigenformer/core/threads.hpp"
#include "eigenformer/kernels/packed_weight.hpp"
#include "eigenformer/kernels/recurrent_cells.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// What the forward and the backward of a recurrent layer share. `hidden` is the width of h; a cell's gates and states
/// are so many times as wide (see RecurrentCell).
template <class Scalar>
struct Recurrence {
  RecurrentCell cell = RecurrentCell::gru;
  ConstMatrixRef<Scalar> weight;                 // U: [gates x hidden]
  ConstMatrixRef<Scalar> bias;                   // [1 x gates], or empty
  ConstMatrixRef<Scalar> initial;                // the state before each sequence: [sequences x state], or empty: zeros
  RowOffsets rows{};                             // the sequences; without any, all rows are one
  bool reverse = false;                          // from the last row to the first
  const PackedWeight<Scalar>* packed = nullptr;  // the same weight, for inference
  Threads* threads = nullptr;

  Index hidden() const { return weight.cols(); }
};

/// What recurrent_forward wrote, for its backward to read.
template <class Scalar>
struct RecurrentSaved {
  ConstMatrixRef<Scalar> state;  // [tokens x state]
  ConstMatrixRef<Scalar> saved;  // [tokens x saved]
};

/// What the backward of a recurrent layer writes.
template <class Scalar>
struct RecurrentGradients {
  MatrixRef<Scalar> d_gates;    // [tokens x gates]
  MatrixRef<Scalar> d_weight;   // [gates x hidden]
  MatrixRef<Scalar> d_bias;     // [1 x gates], or empty
  MatrixRef<Scalar> d_initial;  // [sequences x state], or empty if it is not wanted
};

}  // namespace eigenformer::inline EIGENFORMER_ABI
