// Functions that change the logits of a hypothesis's next token, as in CTranslate2 and Hugging Face. logits:
// [vocabulary size]; tokens: the hypothesis so far, without the begin token. A forbidden token gets the logit minus
// infinity.
#pragma once

#include <algorithm>
#include <limits>
#include <span>
#include <vector>

#include "eigenformer/core/check.hpp"
#include "eigenformer/core/detail/fast_math.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// Forbids a token.
template <class Scalar>
void suppress_token(std::span<Scalar> logits, Token token) {
  logits[static_cast<std::size_t>(token)] = -std::numeric_limits<Scalar>::infinity();
}

/// Makes each token that has occurred less likely: divides a positive logit by the penalty, and multiplies any other by
/// it (Keskar et al. 2019, arXiv 1909.05858, section 4.1, with CTranslate2's and Hugging Face's rule for signs).
/// The penalty must be finite and above 0. Finite logits stay finite.
template <class Scalar>
void apply_repetition_penalty(std::span<Scalar> logits, std::span<const Token> tokens, double penalty) {
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    if (std::find(tokens.begin(), tokens.begin() + static_cast<std::ptrdiff_t>(i), tokens[i]) !=
        tokens.begin() + static_cast<std::ptrdiff_t>(i))
      continue;  // penalised already
    Scalar& logit = logits[static_cast<std::size_t>(tokens[i])];
    if (!detail::is_finite(logit)) continue;
    const double changed = logit > 0 ? static_cast<double>(logit) / penalty : static_cast<double>(logit) * penalty;
    using Limits = std::numeric_limits<Scalar>;
    logit = static_cast<Scalar>(std::clamp<double>(changed, Limits::lowest(), (Limits::max)()));
  }
}

/// Forbids tokens that would repeat an n-gram of this size. Throws if the size is below 1.
template <class Scalar>
void forbid_repeated_ngrams(std::span<Scalar> logits, std::span<const Token> tokens, Index size) {
  check(size >= 1, "forbid_repeated_ngrams: the size is ", size, ", expected 1 or more");
  const auto before = static_cast<std::size_t>(size) - 1;  // tokens of an n-gram before its last
  if (tokens.size() < before + 1) return;
  const std::span<const Token> last = tokens.last(before);
  for (std::size_t i = 0; i + before < tokens.size(); ++i)
    if (std::equal(last.begin(), last.end(), tokens.begin() + static_cast<std::ptrdiff_t>(i)))
      suppress_token(logits, tokens[i + before]);
}

/// Forbids the token that would complete a sequence. A sequence of one token is always forbidden; an empty one has no
/// effect.
template <class Scalar>
void suppress_sequence(std::span<Scalar> logits, std::span<const Token> tokens, std::span<const Token> sequence) {
  if (sequence.empty() || tokens.size() + 1 < sequence.size()) return;
  const std::span<const Token> before = sequence.first(sequence.size() - 1);
  if (std::equal(before.begin(), before.end(), tokens.end() - static_cast<std::ptrdiff_t>(before.size())))
    suppress_token(logits, sequence.back());
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
