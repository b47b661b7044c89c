// A step function without its type, so that the search is compiled once for all step functions.
#pragma once

#include <limits>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include "eigenformer/core/function_ref.hpp"
#include "eigenformer/core/types.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

/// A step function (see hypothesis.hpp) whose logits are computed in Scalar: float or double.
template <class Scalar>
class AnyStep {
 public:
  using UseLogits = FunctionRef<void(const ConstMatrixRef<Scalar>&)>;

  virtual ~AnyStep() = default;
  /// Takes a step and calls use(logits) once. logits: [hypotheses x vocabulary size], valid during the call. 16-bit
  /// logits are converted to float.
  virtual void step(std::span<const Index> parents, std::span<const Token> tokens, UseLogits use) = 0;
  /// Returns the maximum number of steps of a sentence, or the largest Index if the step function has no
  /// max_tokens().
  virtual Index max_tokens() = 0;
  /// Makes the step function record alignments. Returns false if it cannot.
  virtual bool record_alignments() = 0;
  /// Writes to `weights` the attention weights of a hypothesis in the last step, one for each source token. Does
  /// nothing if the step function has no alignments.
  virtual void read_alignment(Index hypothesis, std::vector<float>& weights) = 0;
};

/// The type of a step function's logits.
template <class Step>
using LogitsScalar = typename std::remove_cvref_t<decltype(std::declval<Step&>()(std::span<const Index>(),
                                                                                 std::span<const Token>()))>::Scalar;

/// Refers to a step function, which must outlive it.
template <class Step>
class StepReference final : public AnyStep<ComputeType<LogitsScalar<Step>>> {
 public:
  using Scalar = ComputeType<LogitsScalar<Step>>;

  explicit StepReference(Step& step) : step_(step) {}

  void step(std::span<const Index> parents, std::span<const Token> tokens,
            typename AnyStep<Scalar>::UseLogits use) override {
    const auto& logits = step_(parents, tokens);
    if constexpr (std::is_same_v<LogitsScalar<Step>, Scalar>)
      use(logits);
    else
      use(Matrix<Scalar>(logits.template cast<Scalar>()));
  }
  Index max_tokens() override {
    if constexpr (requires { step_.max_tokens(); })
      return step_.max_tokens();
    else
      return (std::numeric_limits<Index>::max)();
  }
  bool record_alignments() override {
    if constexpr (has_alignments) step_.record_alignments(true);
    return has_alignments;
  }
  void read_alignment([[maybe_unused]] Index hypothesis, [[maybe_unused]] std::vector<float>& weights) override {
    if constexpr (has_alignments) {
      const auto& row = step_.alignment(hypothesis);
      weights.resize(static_cast<std::size_t>(row.size()));
      for (Index j = 0; j < row.size(); ++j) weights[static_cast<std::size_t>(j)] = static_cast<float>(row(j));
    }
  }

 private:
  static constexpr bool has_alignments = requires(Step & step) {
    step.record_alignments(true);
    step.alignment(Index{});
  };

  Step& step_;
};

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
