// The result of decoding. Searches decode any model through its step function:
//
//   Matrix<Scalar> logits = step(parents, tokens);
//
// The step appends tokens[i] to hypothesis parents[i] of the previous step (in the first step: to sentence parents[i]).
// Row i of the logits [hypotheses x vocabulary size] scores the next token of hypothesis i.
#pragma once

#include <vector>

#include "eigenformer/core/check.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// A decoded sequence.
struct Hypothesis {
  std::vector<Token> tokens;   // without the begin and end tokens
  double log_probability = 0;  // of all tokens, including the end token if it was reached
  bool ended = false;          // false: cut off at its limit
};

}  // namespace eigenformer::inline EIGENFORMER_ABI
