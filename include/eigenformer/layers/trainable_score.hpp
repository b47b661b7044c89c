// The score of a layer's attention, with parameters that are trained, saved and loaded with the layer.
#pragma once

#include <algorithm>
#include <concepts>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "eigenformer/autograd/context.hpp"
#include "eigenformer/ops/variable_score.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// A parameter of a TrainableScore before training.
template <class Scalar>
struct InitialParameter {
  std::string name;      // without dots; files store the parameter as "score." + name
  Matrix<Scalar> value;  // the function reads its entries row by row
};

/// The part of a model's options that describes a layer's score: see LayerScore. By default there is no score.
struct ScoreDescription {
  Index window = 0;
  double soft_cap = 0;
  std::string user_score{};

  friend bool operator==(const ScoreDescription&, const ScoreDescription&) = default;
};

/// The score of a layer: any score, a function with learned parameters, or several combined. Each copy has parameters
/// of its own.
///
///   layer.score = TrainableScore<float>([](auto s, const ScorePosition& at, const auto& slope) {
///     return s - slope(at.head) * static_cast<float>(at.query - at.key);
///   }, {{"slope", Matrix<float>::Constant(1, heads, 0.1F)}});
///
/// The rules for the function are those of score() in kernels/scores/learned_score.hpp.
template <class Scalar>
class TrainableScore {
 public:
  /// Holds Unmasked.
  TrainableScore() = default;
  /// Holds a score without parameters: anything that an AnyScore holds.
  template <class S>
  requires(!std::same_as<S, TrainableScore>) TrainableScore(const S& score) {  // NOLINT: implicit
    const AnyScore<Scalar> any(score);
    if (any.empty()) return;
    terms_.push_back({any, nullptr, 0});
    description_.reset();
  }
  /// Holds score(function, parameters ...). Throws if a parameter has no entries, no name, a name with a dot, or the
  /// name of another parameter.
  template <class Function, std::size_t count>
  TrainableScore(const Function& function, const InitialParameter<Scalar> (&parameters)[count]) {
    const auto make = [function](std::span<const Variable<Scalar>> variables) {
      return score_of_variables<count>(function, variables);
    };
    terms_.push_back({{}, make, count});
    description_.reset();
    for (const InitialParameter<Scalar>& parameter : parameters) {
      check(!parameter.name.empty() && parameter.name.find('.') == std::string::npos,
            "TrainableScore: a parameter is named \"", parameter.name, "\", expected a name without dots");
      check(parameter.value.size() > 0, "TrainableScore: the parameter \"", parameter.name, "\" is ",
            shape(parameter.value), ", expected entries");
      add(parameter.name, Parameter<Scalar>(parameter.value));
    }
  }

  /// Returns a score that applies this one and `other`, stage by stage as combine() does. Within a stage this one comes
  /// first. Throws if both have a parameter of the same name.
  TrainableScore combined_with(const TrainableScore& other) const {
    if (other.empty()) return *this;
    TrainableScore both = *this;
    both.terms_.insert(both.terms_.end(), other.terms_.begin(), other.terms_.end());
    both.description_.reset();
    for (std::size_t i = 0; i < other.names_.size(); ++i) both.add(other.names_[i], other.parameters_[i]);
    return both;
  }

  /// Returns the score with its parameters as Variables. With a tape, their gradients are recorded.
  VariableScore<Scalar> operator()(const Context<Scalar>& context) const {
    std::vector<Variable<Scalar>> variables;
    for (const Parameter<Scalar>& parameter : parameters_) variables.push_back(context.use(parameter));
    VariableScore<Scalar> result;
    std::size_t first = 0;
    for (const Term& term : terms_) {
      const auto own = std::span<const Variable<Scalar>>(variables).subspan(first, term.parameters);
      result = result.combined_with(term.make == nullptr ? VariableScore<Scalar>(term.fixed) : term.make(own));
      first += term.parameters;
    }
    return result;
  }

  /// Returns whether this is Unmasked.
  bool empty() const { return terms_.empty(); }

  /// Returns a copy with this description. Options with this description must make an equal score.
  TrainableScore described_by(const ScoreDescription& description) const {
    TrainableScore copy = *this;
    copy.description_ = description;
    return copy;
  }
  /// Returns the description by the model's options. Null if the score was set by hand or combined.
  const std::optional<ScoreDescription>& description() const { return description_; }

  /// Returns the parameter of this name. Throws if there is none.
  const Parameter<Scalar>& parameter(const std::string& name) const {
    const auto found = std::find(names_.begin(), names_.end(), name);
    check(found != names_.end(), "TrainableScore: there is no parameter \"", name, '"');
    return parameters_[static_cast<std::size_t>(found - names_.begin())];
  }
  Parameter<Scalar>& parameter(const std::string& name) {
    return const_cast<Parameter<Scalar>&>(std::as_const(*this).parameter(name));
  }

  static void visit(auto& self, auto&& visitor) {
    for (std::size_t i = 0; i < self.names_.size(); ++i) visitor(self.names_[i].c_str(), self.parameters_[i]);
  }

 private:
  struct Term {
    AnyScore<Scalar> fixed;
    std::function<VariableScore<Scalar>(std::span<const Variable<Scalar>>)> make;  // null: the term is `fixed`
    std::size_t parameters;                                                        // number that `make` takes
  };

  void add(const std::string& name, Parameter<Scalar> parameter) {
    check(std::find(names_.begin(), names_.end(), name) == names_.end(), "TrainableScore: two parameters are named \"",
          name, '"');
    names_.push_back(name);
    parameters_.push_back(std::move(parameter));
  }

  std::vector<Term> terms_;
  std::vector<std::string> names_;             // of the parameters
  std::vector<Parameter<Scalar>> parameters_;  // those of the first term, then those of the second, and so on
  std::optional<ScoreDescription> description_ = ScoreDescription{};
};

}  // namespace eigenformer::inline EIGENFORMER_ABI
