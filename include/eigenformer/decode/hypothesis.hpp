// What decoding works with. Models give a step function, so that every model decodes the same way:
//
//   Matrix<Scalar> logits = step(parents, tokens);
//
// hypothesis i continues what hypothesis parents[i] of the step before was given (at first: sentence parents[i]) by
// tokens[i]; row i of the logits [hypotheses x vocabulary size] scores what may come next.
#pragma once

#include <vector>

#include "eigenformer/core/check.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// A decoded sequence.
struct Hypothesis {
  std::vector<Token> tokens;   // without the begin and end tokens
  double log_probability = 0;  // of all its tokens, the end token among them if it was reached
  bool ended = false;          // false: cut off at the limit
};

}  // namespace eigenformer::inline EIGENFORMER_ABI
