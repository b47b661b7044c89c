// The parameters of layers, and a way to visit them by name.
#pragma once

#include <concepts>
#include <functional>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "eigenformer/core/check.hpp"
#include "eigenformer/core/function_ref.hpp"

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

/// The Scalar of Model<Scalar>, or of a variant of such models, if it is a floating-point type; else void.
template <class Model>
struct ScalarOfModel : std::type_identity<void> {};
template <template <class> class Model, std::floating_point Scalar>
struct ScalarOfModel<Model<Scalar>> : std::type_identity<Scalar> {};
template <template <class> class... Models, std::floating_point Scalar>
struct ScalarOfModel<std::variant<Models<Scalar>...>> : std::type_identity<Scalar> {};

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
/// Members may be Parameters, structs with such a function, and vectors and variants of these. In a model Model<Scalar>
/// with Scalar float or double, and in a variant of such models, all parameters must be of type Parameter<Scalar>.
template <class Model, class Function>
void for_each_parameter(Model& model, Function&& function) {
  // If the scalar type is known, all functions are passed as one type, so visit_part is compiled once for each class.
  using Scalar = typename detail::ScalarOfModel<std::remove_const_t<Model>>::type;
  if constexpr (!std::is_void_v<Scalar>) {
    using Visited = std::conditional_t<std::is_const_v<Model>, const Parameter<Scalar>, Parameter<Scalar>>;
    const auto call = [&](const std::string& name, Visited& parameter) { function(name, parameter); };
    const FunctionRef<void(const std::string&, Visited&)> visitor(call);
    detail::visit_part(std::string(), model, visitor);
  } else if constexpr (requires { &std::remove_cvref_t<Function>::operator(); }) {
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
