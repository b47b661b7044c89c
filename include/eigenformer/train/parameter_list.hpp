// A list of some of a model's parameters. It can be trained, saved and counted like a model.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "eigenformer/autograd/parameter.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// Pointers to parameters of a model, with their names. The model must neither move nor be destroyed while the list is
/// used.
///
/// To freeze the other parameters, give train() the list instead of the model. Only listed parameters then change, and
/// only their gradients count for clipping.
///
///   ParameterList<float> trained = parameters_of(model, [](const std::string& name) {
///     return !matches(name, "encoder.*");
///   });
///   train(trained, adam, next_batch, loss, report);  // the loss calls the model
template <class Scalar>
struct ParameterList {
  std::vector<std::pair<std::string, Parameter<Scalar>*>> parameters;

  static void visit(auto& self, auto&& visitor) {
    for (auto& [name, parameter] : self.parameters) visitor(name.c_str(), *parameter);
  }
};

/// Returns the parameters of a model whose names satisfy a condition, in the order of the model.
template <class Scalar, class Model>
ParameterList<Scalar> parameters_of(Model& model, const std::function<bool(const std::string& name)>& condition) {
  ParameterList<Scalar> list;
  for_each_parameter(model, [&](const std::string& name, Parameter<Scalar>& parameter) {
    if (condition(name)) list.parameters.emplace_back(name, &parameter);
  });
  return list;
}

/// Returns whether a name matches a pattern. `*` matches any number of characters, dots included; `?` matches one. All
/// other characters match themselves.
inline bool matches(std::string_view name, std::string_view pattern) {
  std::size_t n = 0, p = 0;
  std::size_t star = std::string_view::npos, resumed = 0;  // the last star, and where the name goes on after it
  while (n < name.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      resumed = n;
    } else if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == name[n])) {
      ++n;
      ++p;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      n = ++resumed;
    } else {
      return false;
    }
  }
  return pattern.find_first_not_of('*', p) == std::string_view::npos;
}

/// Returns the parameters of a model that match none of the patterns. Throws if a pattern matches no parameter (it is
/// probably misspelt), or if no parameter is left. where: begins the message.
template <class Scalar, class Model>
ParameterList<Scalar> parameters_without(Model& model, std::span<const std::string> frozen,
                                         const char* where = "parameters_without") {
  std::vector<bool> used(frozen.size());
  ParameterList<Scalar> list = parameters_of<Scalar>(model, [&](const std::string& name) {
    bool is_frozen = false;
    for (std::size_t i = 0; i < frozen.size(); ++i)
      if (matches(name, frozen[i])) is_frozen = used[i] = true;
    return !is_frozen;
  });
  for (std::size_t i = 0; i < frozen.size(); ++i) check(used[i], where, ": no parameter matches \"", frozen[i], '"');
  check(!list.parameters.empty(), where, ": all parameters are frozen, expected one to train");
  return list;
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
