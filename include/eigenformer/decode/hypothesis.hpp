// The result of decoding, and the step function through which the searches decode any model:
//
//   logits = step(parents, tokens);
//
// parents: std::span<const Index>; tokens: std::span<const Token>. The step appends tokens[i] to hypothesis parents[i]
// of the previous step; in the first step, to sentence parents[i]. Row i of the logits [hypotheses x vocabulary size]
// scores the next token of hypothesis i. The logits are a dense Eigen object (a matrix, a reference to one, or a Map)
// and stay valid until the next call.
//
// A step may have more members, which the searches use if they exist:
//
//   step.add(source);              Encodes more sentences (Tokens). Their numbers follow those of the previous step's
//                                  hypotheses; before the first step, those of the sentences so far.
//                                  An added sentence begins at its own position 0, so the hypotheses of one step may
//                                  differ in length.
//   step.max_tokens();             The maximum number of steps of a sentence.
//   step.record_alignments(true);  Called before the first step if alignments are needed. Throws if the model has none.
//   step.alignment(i);             The attention weights of hypothesis i in the last step: [1 x source tokens],
//                                  the end token included. A Transformer's are those of its alignment head, or the mean
//                                  over the heads of its last layer (see TransformerOptions::alignment_head).
#pragma once

#include <vector>

#include "eigenformer/core/check.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// A decoded sequence.
struct Hypothesis {
  std::vector<Token> tokens;   // without the begin and end tokens; forced prefixes are included
  double log_probability = 0;  // sum over all tokens, and the end token if it was reached; forced tokens count 0
  bool ended = false;          // false: cut off at its limit
  double score = 0;            // ranks hypotheses: log_probability with length and coverage penalties
  std::vector<double> token_log_probabilities{};  // of each token, and of the end token if it was reached
  Matrix<float> alignments{};  // [tokens x source tokens with the end token], if DecodingOptions::return_attention
};

}  // namespace eigenformer::inline EIGENFORMER_ABI
