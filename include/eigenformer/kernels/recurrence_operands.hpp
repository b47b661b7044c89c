// The operands of the forward and the backward of a recurrent layer.
#pragma once

#include "eigenformer/core/row_offsets.hpp"
#include "eigenformer/core/threads.hpp"
#include "eigenformer/core/workspace.hpp"
#include "eigenformer/kernels/packed_weight.hpp"
#include "eigenformer/kernels/recurrent_cells.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// The operands that the forward and the backward of a recurrent layer share. `hidden` is the width of h; the widths of
/// gates and state are multiples of it (see RecurrentCell).
template <class Scalar>
struct Recurrence {
  RecurrentCell cell = RecurrentCell::gru;
  ConstMatrixRef<Scalar> weight;                 // U: [gates x hidden]
  ConstMatrixRef<Scalar> bias;                   // [1 x gates], or empty
  ConstMatrixRef<Scalar> initial;                // state before each sequence: [sequences x state], or empty for zeros
  RowOffsets rows{};                             // rows of each sequence; by default one sequence
  bool reverse = false;                          // runs from the last row to the first
  const PackedWeight<Scalar>* packed = nullptr;  // `weight` packed, for inference, or null
  Threads* threads = nullptr;
  Workspace* workspace = nullptr;  // scratch memory of the forward; null: the heap

  Index hidden() const { return weight.cols(); }
};

/// The outputs of recurrent_forward that its backward reads.
template <class Scalar>
struct RecurrentSaved {
  ConstMatrixRef<Scalar> state;  // [tokens x state]
  ConstMatrixRef<Scalar> saved;  // [tokens x saved]
};

/// The outputs of the backward of a recurrent layer.
template <class Scalar>
struct RecurrentGradients {
  MatrixRef<Scalar> d_gates;    // [tokens x gates]
  MatrixRef<Scalar> d_weight;   // [gates x hidden]
  MatrixRef<Scalar> d_bias;     // [1 x gates], or empty
  MatrixRef<Scalar> d_initial;  // [sequences x state], or empty if not needed
};

}  // namespace eigenformer::inline EIGENFORMER_ABI
