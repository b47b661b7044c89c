// Tests of step-by-step decoding that hold for every model: hypotheses that are dropped, reordered and split, beside
// sentences that are added while others are decoded.
#pragma once

#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "eigenformer/core/rng.hpp"
#include "eigenformer/text/tokens.hpp"

namespace eigenformer::testing {

/// A sentence and the target tokens so far.
struct PlainHypothesis {
  std::vector<Token> source;
  std::vector<Token> target{};
};

/// The arguments of a step.
struct StepArguments {
  std::vector<Index> parents;
  std::vector<Token> tokens;
};

/// Draws the arguments of steps, and keeps what the hypotheses are.
class RandomSteps {
 public:
  /// Makes `first` sentences. vocabulary: tokens 0 to vocabulary - 1.
  RandomSteps(Index first, Token vocabulary, std::uint64_t seed) : rng_(seed), vocabulary_(vocabulary) { add(first); }

  Rng& rng() { return rng_; }
  const std::vector<PlainHypothesis>& hypotheses() const { return hypotheses_; }

  /// Makes `count` sentences of 1 to 9 tokens, and returns them as an encoder takes them.
  Tokens add(Index count) {
    std::vector<std::vector<Token>> sources;
    for (Index i = 0; i < count; ++i) {
      std::vector<Token> source(static_cast<std::size_t>(1 + rng_.randint(9)));
      for (Token& token : source) token = draw();
      sources.push_back(source);
      hypotheses_.push_back({source});
    }
    return Tokens::of(sources);
  }
  /// Returns all sentences, before the first step.
  Tokens sources() const {
    std::vector<std::vector<Token>> sources;
    for (const PlainHypothesis& hypothesis : hypotheses_) sources.push_back(hypothesis.source);
    return Tokens::of(sources);
  }

  /// Draws a step of 1 to `most` hypotheses.
  StepArguments next(Index most) {
    StepArguments step;
    const Index count = 1 + rng_.randint(most);
    std::vector<PlainHypothesis> after;
    for (Index i = 0; i < count; ++i) {
      step.parents.push_back(rng_.randint(static_cast<Index>(hypotheses_.size())));
      step.tokens.push_back(draw());
      after.push_back(hypotheses_[static_cast<std::size_t>(step.parents.back())]);
      after.back().target.push_back(step.tokens.back());
    }
    hypotheses_ = std::move(after);
    return step;
  }

 private:
  Token draw() { return static_cast<Token>(rng_.randint(vocabulary_)); }

  Rng rng_;
  Token vocabulary_;
  std::vector<PlainHypothesis> hypotheses_;
};

/// Returns the logits after the last token of a hypothesis: of the whole model, over all tokens.
template <class Scalar, class Model>
Matrix<Scalar> whole_logits(const Model& model, const PlainHypothesis& hypothesis) {
  const Matrix<Scalar> all = model({}, Tokens{hypothesis.source, {}}, Tokens{hypothesis.target, {}}).value();
  return all.bottomRows(1);
}

/// Returns the logits after the last token of a hypothesis: of a state that decodes it alone.
template <class Scalar, class Model>
Matrix<Scalar> logits_alone(const Model& model, const PlainHypothesis& hypothesis) {
  auto state = decoding_state(model, Tokens{hypothesis.source, {}});
  Matrix<Scalar> logits;
  for (const Token token : hypothesis.target) logits = state(std::vector<Index>{0}, std::vector<Token>{token});
  return logits;
}

}  // namespace eigenformer::testing
