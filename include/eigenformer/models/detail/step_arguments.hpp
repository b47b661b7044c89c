// Checks the arguments of a decoding step.
#pragma once

#include <span>

#include "eigenformer/core/check.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

/// Limits of the arguments of a decoding step.
struct StepLimits {
  const char* where;  // begins the messages
  Index hypotheses;   // of the previous step, and sentences added since
  Index vocabulary;   // tokens
};

/// Throws unless there is one token for each parent, and all parents and tokens exist.
inline void check_step(const StepLimits& limits, std::span<const Index> parents, std::span<const Token> tokens) {
  check(parents.size() == tokens.size(), limits.where, ": ", parents.size(), " parents and ", tokens.size(),
        " tokens, expected equal numbers");
  for (const Index parent : parents)
    check(parent >= 0 && parent < limits.hypotheses, limits.where, ": parent ", parent, " does not exist, there are ",
          limits.hypotheses);
  for (const Token token : tokens)
    check(token >= 0 && token < limits.vocabulary, limits.where, ": token ", token,
          " does not exist, the vocabulary has ", limits.vocabulary);
}

/// Throws unless hypothesis i has an alignment: alignments are recorded, and the last step had such a hypothesis.
inline void check_alignment(const char* where, bool recorded, Index i, Index hypotheses) {
  check(recorded, where, ": no alignments are recorded; call record_alignments(true) before the first step");
  check(i >= 0 && i < hypotheses, where, ": the alignment of hypothesis ", i, " does not exist, the last step had ",
        hypotheses);
}

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
