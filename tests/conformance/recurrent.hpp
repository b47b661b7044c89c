// The recurrent operators of ONNX in one direction.
#pragma once

#include <limits>
#include <string>
#include <vector>

#include "conformance/operator_case.hpp"
#include "eigenformer/core/row_offsets.hpp"

namespace eigenformer::conformance {

/// An activation function of a recurrent operator. alpha and beta are unused by some.
struct CellActivation {
  std::string name;  // in lower case
  double alpha = 0;
  double beta = 0;

  friend bool operator==(const CellActivation&, const CellActivation&) = default;
};

/// The function that a recurrent operator applies at each step.
struct CellFunction {
  std::string op;                           // RNN, GRU or LSTM
  std::vector<CellActivation> activations;  // f, then g, then h
  double clip = std::numeric_limits<double>::infinity();
  bool linear_before_reset = false;
  bool input_forget = false;

  /// Reads the function of one direction from the attributes of a case.
  CellFunction(const OperatorCase& c, Index direction);

  Index gates() const { return op == "RNN" ? 1 : op == "GRU" ? 3 : 4; }
  Index states() const { return op == "LSTM" ? 2 : 1; }
};

/// The operands of one direction. Gates are stacked in ONNX's order.
template <class Scalar>
struct CellOperands {
  Matrix<Scalar> x;          // [tokens x inputs]
  RowOffsets rows;           // tokens of each sequence
  bool reverse = false;      // runs from the last token to the first
  Matrix<Scalar> w, r;       // [gates x inputs], [gates x hidden]
  Matrix<Scalar> w_b, r_b;   // [1 x gates]
  Matrix<Scalar> peepholes;  // [1 x 3 * hidden]: i, o, f; or empty
  Matrix<Scalar> initial;    // [sequences x states]

  Index hidden() const { return r.cols(); }
};

/// Returns the state after every token, h and then c: [tokens x states]. Works step by step, and knows all of ONNX's
/// activations, clip, peepholes and input_forget.
template <class Scalar>
Matrix<Scalar> step_by_step(const CellFunction& function, const CellOperands<Scalar>& in);

}  // namespace eigenformer::conformance
