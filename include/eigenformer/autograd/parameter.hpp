// The parameters of layers, and a way to visit them by name.
#pragma once

#include <functional>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "eigenformer/core/check.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// A matrix that is learned. It holds only its value: the tape holds the gradient, so that several tapes can train one
/// model and any number of threads can run it. An empty Parameter means "none", for example a layer without bias.
template <class Scalar>
struct Parameter {
  Matrix<Scalar> value;

  Parameter() = default;
  explicit Parameter(Matrix<Scalar> initial) : value(std::move(initial)) {}
  /// Holds zeros. Throws if rows or cols is negative.
  Parameter(Index rows, Index cols) {
    check(rows >= 0 && cols >= 0, "Parameter: the shape is ", Shape{rows, cols}, ", expected sizes of 0 or more");
    value = Matrix<Scalar>::Zero(rows, cols);
  }

  Index size() const { return value.size(); }
  bool empty() const { return value.size() == 0; }
};

namespace detail {

template <class T>
struct IsParameter : std::false_type {};
template <class Scalar>
struct IsParameter<Parameter<Scalar>> : std::true_type {};
template <class T>
struct IsVariant : std::false_type {};
template <class... T>
struct IsVariant<std::variant<T...>> : std::true_type {};
template <class T>
struct IsVector : std::false_type {};
template <class T>
struct IsVector<std::vector<T>> : std::true_type {};

/// Returns the dotted name of a child. This and visit_part are not inlined: otherwise their string code would be
/// repeated for every child of every struct.
EIGEN_DONT_INLINE inline std::string child_name(const std::string& name, const std::string& child) {
  return name.empty() ? child : name + '.' + child;
}

template <class Part, class Function>
EIGEN_DONT_INLINE void visit_part(const std::string& name, Part& part, Function& function) {
  using Bare = std::remove_const_t<Part>;
  if constexpr (IsParameter<Bare>::value) {
    if (!part.empty()) function(name, part);
  } else if constexpr (IsVector<Bare>::value) {
    for (std::size_t i = 0; i < part.size(); ++i) visit_part(child_name(name, std::to_string(i)), part[i], function);
  } else if constexpr (IsVariant<Bare>::value) {
    std::visit([&](auto& chosen) { visit_part(name, chosen, function); }, part);
  } else {
    Bare::visit(part, [&](const char* child, auto& value) { visit_part(child_name(name, child), value, function); });
  }
}

}  // namespace detail

/// Calls function(name, parameter) for every parameter of a layer or model, in a fixed order. Names are dotted:
/// "encoder.layers.0.self_attn.q.weight". Empty parameters are skipped. `model` may be const.
///
/// A struct lists its members in one static function:
///
///   static void visit(auto& self, auto&& visitor) { visitor("weight", self.weight); visitor("norm", self.norm); }
///
/// Members may be Parameters, structs with such a function, and vectors and variants of these.
template <class Model, class Function>
void for_each_parameter(Model& model, Function&& function) {
  // Wrap lambdas in std::function, so that all functions with one signature share one instantiation per model.
  if constexpr (requires { &std::remove_cvref_t<Function>::operator(); }) {
    const decltype(std::function(function)) visitor = std::ref(function);
    detail::visit_part(std::string(), model, visitor);
  } else {
    detail::visit_part(std::string(), model, function);
  }
}

/// Returns the number of scalars in a model's parameters.
template <class Model>
Index parameter_count(const Model& model) {
  Index count = 0;
  for_each_parameter(model, [&](const std::string&, const auto& parameter) { count += parameter.size(); });
  return count;
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
