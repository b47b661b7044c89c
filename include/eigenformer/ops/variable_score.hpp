// Scores of attention that read Variables, such as learned slopes, tables and temperatures. Attention computes the
// Variables' gradients.
#pragma once

#include <array>
#include <concepts>
#include <functional>
#include <span>
#include <utility>
#include <vector>

#include "eigenformer/autograd/variable.hpp"
#include "eigenformer/kernels/scores/any_score.hpp"
#include "eigenformer/kernels/scores/learned_score.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// A Variable that a score reads.
template <class Scalar>
struct ScoreInput {
  Variable<Scalar> variable;
  bool row_per_head = false;  // each query head has a gradient of its own, and attention sums them
};

/// A score that may read Variables: any other score, a function with parameters, or several combined.
///
///   VariableScore<float> decay = score([](auto s, const ScorePosition& at, const auto& slope) {
///     return s - slope(at.head) * static_cast<float>(at.query - at.key);
///   }, slopes);
///   Variable<float> y = attention(context, q, k, v, decay.combined_with(Causal{}), {.heads = 8});
template <class Scalar>
class VariableScore {
 public:
  /// Returns the score for the kernels. gradients: a view [1 or heads x size of the variable] for each input. The
  /// score's backward adds to it. A null view: this gradient is not wanted; an empty span: none is.
  using Make = std::function<AnyScore<Scalar>(std::span<const TensorView<Scalar>> gradients)>;

  /// Holds Unmasked.
  VariableScore() = default;
  /// Holds a score that reads no Variables: anything that an AnyScore holds.
  template <class S>
  requires(!std::derived_from<S, VariableScore>) VariableScore(const S& score) {  // NOLINT: implicit
    const AnyScore<Scalar> any(score);
    if (!any.empty()) parts_.push_back({any, nullptr, 0});
  }
  /// Holds the score that `make` returns. `make` must keep the Variables that the score reads alive.
  VariableScore(std::vector<ScoreInput<Scalar>> inputs, Make make) : inputs_(std::move(inputs)) {
    parts_.push_back({{}, std::move(make), inputs_.size()});
  }

  /// Returns a score that applies this one and `other`, stage by stage as combine() does. Within a stage this one comes
  /// first.
  VariableScore combined_with(const VariableScore& other) const {
    VariableScore both = *this;
    both.inputs_.insert(both.inputs_.end(), other.inputs_.begin(), other.inputs_.end());
    both.parts_.insert(both.parts_.end(), other.parts_.begin(), other.parts_.end());
    return both;
  }

  /// Returns a copy that numbers queries as tokens of the whole sequence: see AnyScore::after_past.
  VariableScore after_past() const {
    return each_part([](const AnyScore<Scalar>& score) { return score.after_past(); });
  }
  /// Returns a copy that numbers the queries of sequence s from offsets[s] on. The offsets must outlive the copy.
  VariableScore with_offsets(std::span<const Index> offsets) const {
    return each_part([offsets](const AnyScore<Scalar>& score) { return score.with_offsets(offsets); });
  }

  /// Returns whether this is Unmasked.
  bool empty() const { return parts_.empty(); }
  /// The Variables that the score reads.
  const std::vector<ScoreInput<Scalar>>& inputs() const { return inputs_; }

  /// Returns the score for the kernels. It refers to the Variables, which this object keeps alive. gradients: one view
  /// for each of inputs(), or none (see Make).
  AnyScore<Scalar> score(std::span<const TensorView<Scalar>> gradients = {}) const {
    AnyScore<Scalar> result;
    std::size_t first = 0;
    for (const Part& part : parts_) {
      const auto own = gradients.empty() ? gradients : gradients.subspan(first, part.inputs);
      result = result.combined_with(part.make == nullptr ? part.fixed : part.make(own));
      first += part.inputs;
    }
    return result;
  }

 private:
  struct Part {
    AnyScore<Scalar> fixed;
    Make make;  // null: the part is `fixed`
    std::size_t inputs;
  };

  /// Returns a copy that replaces the score of each part by change(score).
  template <class Change>
  VariableScore each_part(Change change) const {
    VariableScore copy = *this;
    for (Part& part : copy.parts_)
      if (part.make == nullptr)
        part.fixed = change(part.fixed);
      else
        part.make = [make = part.make, change](std::span<const TensorView<Scalar>> gradients) {
          return change(make(gradients));
        };
    return copy;
  }

  std::vector<ScoreInput<Scalar>> inputs_;
  std::vector<Part> parts_;  // in the order in which they were combined
};

/// Returns score(function, variables ...) for a list of Variables. Throws unless there are `count` variables.
template <std::size_t count, class Function, class Scalar>
VariableScore<Scalar> score_of_variables(const Function& function, std::span<const Variable<Scalar>> variables) {
  check(variables.size() == count, "score_of_variables: ", variables.size(), " variables, expected ", count);
  std::vector<ScoreInput<Scalar>> inputs;
  for (const Variable<Scalar>& variable : variables) inputs.push_back({variable, true});
  return {inputs, [function, inputs](std::span<const TensorView<Scalar>> gradients) {
            const auto parameter = [&](std::size_t i) {
              const Variable<Scalar>& variable = inputs[i].variable;
              return ScoreParameter<Scalar>(TensorView<const Scalar>(variable.value().data(), {variable.size()}),
                                            gradients.empty() ? TensorView<Scalar>() : gradients[i]);
            };
            return [&]<std::size_t... i>(std::index_sequence<i...>) {
              return AnyScore<Scalar>(score(function, parameter(i)...));
            }
            (std::make_index_sequence<count>());
          }};
}

/// Returns a score that applies a function of the score, its position and parameters. The parameters are Variables and
/// get gradients.
///
///   score([](auto s, const ScorePosition& at, const auto& slope, const auto& table) {
///     return s * slope(at.head) + table(at.query - at.key + 100);
///   }, slope, table)
///
/// In the function, a parameter is the list of the Variable's entries, row by row. The rules are those of score() in
/// kernels/scores/learned_score.hpp: for one score the function reads at most one entry of each parameter, and an index
/// out of range reads the first or the last entry. Heads may share entries or have their own.
template <class Function, class Scalar, class... Others>
VariableScore<Scalar> score(const Function& function, const Variable<Scalar>& first, const Others&... others) {
  constexpr std::size_t count = 1 + sizeof...(Others);
  const std::array<Variable<Scalar>, count> variables{first, Variable<Scalar>(others)...};
  return score_of_variables<count>(function, std::span<const Variable<Scalar>>(variables));
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
