// The tensors of a layer in PyTorch's state dict: their names, their shapes, and the parameters that hold their
// numbers.
#pragma once

#include <algorithm>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "eigenformer/autograd/parameter.hpp"
#include "eigenformer/core/function_ref.hpp"
#include "eigenformer/layers/convolution.hpp"
#include "eigenformer/layers/multi_head_attention.hpp"
#include "eigenformer/layers/norms.hpp"
#include "eigenformer/layers/recurrent.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

namespace detail {

/// One tensor of a state dict. P: Parameter<Scalar>, or const Parameter<Scalar>.
template <class P>
struct TorchTensor {
  std::string name;
  std::vector<Index> shape;  // in the state dict
  std::vector<P*> parts;     // the rows of the first part, then those of the second, and so on
  Index kernel = 1;          // a row is [inputs x kernel] in the tensor, and [kernel x inputs] in the parameter
};

template <class Layer, template <class> class Template>
inline constexpr bool is_layer = false;
template <class Scalar, template <class> class Template>
inline constexpr bool is_layer<Template<Scalar>, Template> = true;

/// Calls function with a TorchTensor for one parameter, unless it is empty. A bias has one dimension; so has a gain.
template <class P, class Function>
void visit_torch_parameter(const std::string& name, P& parameter, bool is_gain, const Function& function) {
  if (parameter.empty()) return;
  const Index rows = parameter.value.rows(), cols = parameter.value.cols();
  const std::size_t last = name.rfind('.') + 1;  // npos + 1 is 0
  const bool is_vector = rows == 1 && (is_gain || name.compare(last, 4, "bias") == 0);
  function(TorchTensor<P>{name, is_vector ? std::vector<Index>{cols} : std::vector<Index>{rows, cols}, {&parameter}});
}

/// Calls function with the tensors of torch.nn.MultiheadAttention, except those of out_proj. `in_proj_weight` has the
/// rows of q, k and v if their inputs are equally wide; otherwise each has its own weight.
template <class Attention, class Function>
void visit_torch_projections(const std::string& name, Attention& layer, const Function& function) {
  if (layer.out_proj.empty()) return;
  const Index width = layer.out_proj.outputs();
  const std::string where = "torch_state_dict: MultiHeadAttention \"" + name + '"';
  for (const auto* projection : {&layer.q, &layer.k, &layer.v})
    check(projection->outputs() == width, where, ": a projection has ", projection->outputs(), " outputs, expected ",
          width, ": torch.nn.MultiheadAttention has neither key_heads nor head_width");
  check(layer.relative_keys.empty() && layer.relative_values.empty(), where,
        ": torch.nn.MultiheadAttention has no relative positions, expected relative_distance = 0");
  check(layer.q_norm.weight.empty() && layer.k_norm.weight.empty(), where,
        ": torch.nn.MultiheadAttention has no norms, expected qk_norm = QueryKeyNorm::none");
  check(layer.sinks.empty() && parameter_count(layer.score) == 0, where,
        ": torch.nn.MultiheadAttention has neither sinks nor learned scores");
  const bool bias = !layer.q.bias.empty();
  check(layer.k.bias.empty() != bias && layer.v.bias.empty() != bias, where,
        ": only some of q, k and v have a bias, expected all or none");

  using P = std::remove_reference_t<decltype(layer.q.weight)>;
  using Part = std::conditional_t<std::is_const_v<Attention>, const P, P>;
  if (layer.q.inputs() == width && layer.k.inputs() == width && layer.v.inputs() == width) {
    function(TorchTensor<Part>{
        child_name(name, "in_proj_weight"), {3 * width, width}, {&layer.q.weight, &layer.k.weight, &layer.v.weight}});
  } else {
    visit_torch_parameter(child_name(name, "q_proj_weight"), layer.q.weight, false, function);
    visit_torch_parameter(child_name(name, "k_proj_weight"), layer.k.weight, false, function);
    visit_torch_parameter(child_name(name, "v_proj_weight"), layer.v.weight, false, function);
  }
  if (bias)
    function(TorchTensor<Part>{
        child_name(name, "in_proj_bias"), {3 * width}, {&layer.q.bias, &layer.k.bias, &layer.v.bias}});
}

template <class Layer, class Function>
void visit_torch_convolution(const std::string& name, Layer& layer, const Function& function) {
  if (layer.weight.empty()) return;
  using P = std::remove_reference_t<decltype(layer.weight)>;
  using Part = std::conditional_t<std::is_const_v<Layer>, const P, P>;
  const Index kernel = layer.window.kernel;
  function(TorchTensor<Part>{
      child_name(name, "weight"), {layer.outputs(), layer.inputs(), kernel}, {&layer.weight}, kernel});
  visit_torch_parameter(child_name(name, "bias"), layer.bias, false, function);
}

/// Calls function with every TorchTensor of a layer, model, vector or variant.
template <class Part, class Function>
void visit_torch_part(const std::string& name, Part& part, const Function& function) {
  using Bare = std::remove_const_t<Part>;
  if constexpr (IsParameter<Bare>::value) {
    visit_torch_parameter(name, part, false, function);
  } else if constexpr (IsVector<Bare>::value) {
    for (std::size_t i = 0; i < part.size(); ++i)
      visit_torch_part(child_name(name, std::to_string(i)), part[i], function);
  } else if constexpr (IsVariant<Bare>::value) {
    std::visit([&](auto& chosen) { visit_torch_part(name, chosen, function); }, part);
  } else if constexpr (is_layer<Bare, MultiHeadAttention>) {
    visit_torch_projections(name, part, function);
    visit_torch_part(child_name(name, "out_proj"), part.out_proj, function);
  } else if constexpr (is_layer<Bare, Convolution>) {
    visit_torch_convolution(name, part, function);
  } else if constexpr (is_layer<Bare, LayerNorm> || is_layer<Bare, RmsNorm>) {
    Bare::visit(part, [&](const char* child, auto& parameter) {
      visit_torch_parameter(child_name(name, child), parameter, true, function);
    });
  } else {
    if constexpr (is_layer<Bare, Recurrent>)
      check(part.weights.empty() || part.options.cell != RecurrentCell::gru_reset_first,
            "torch_state_dict: Recurrent \"", name,
            "\" has the cell gru_reset_first, expected gru, the cell of torch.nn.GRU");
    Bare::visit(part,
                [&](const char* child, auto& value) { visit_torch_part(child_name(name, child), value, function); });
  }
}

/// Calls function(tensor) with every tensor of the state dict of a layer or model. `prefix` begins the names. `model`
/// may be const. Throws if PyTorch has no such layer.
template <class Model, class Function>
void for_each_torch_tensor(Model& model, const std::string& prefix, const Function& function) {
  const auto visitor = [&](auto tensor) {
    tensor.name = prefix + tensor.name;
    function(tensor);
  };
  // As in for_each_parameter: if the scalar type is known, all functions are passed as one type.
  using Scalar = typename ScalarOfModel<std::remove_const_t<Model>>::type;
  if constexpr (!std::is_void_v<Scalar>) {
    using P = std::conditional_t<std::is_const_v<Model>, const Parameter<Scalar>, Parameter<Scalar>>;
    visit_torch_part(std::string(), model, FunctionRef<void(const TorchTensor<P>&)>(visitor));
  } else {
    visit_torch_part(std::string(), model, visitor);
  }
}

/// Writes a tensor's numbers, in the state dict's order, into the parameters. There must be as many as the parameters
/// have.
template <class Scalar>
void set_torch_numbers(const TorchTensor<Parameter<Scalar>>& tensor, std::span<const Scalar> numbers) {
  const Scalar* from = numbers.data();
  for (Parameter<Scalar>* part : tensor.parts) {
    const Index row = part->value.cols();
    for (Index i = 0; i < part->value.rows(); ++i, from += row)
      MatrixMap<Scalar>(part->value.row(i).data(), tensor.kernel, row / tensor.kernel) =
          ConstMatrixMap<Scalar>(from, row / tensor.kernel, tensor.kernel).transpose();
  }
}

/// Appends to `numbers` those of a parameter, or of a matrix of its shape, in the state dict's order.
template <class Scalar>
void append_torch_numbers(const Matrix<Scalar>& part, Index kernel, std::vector<Scalar>& numbers) {
  const auto size = static_cast<std::size_t>(part.size());
  numbers.resize(numbers.size() + size);
  Scalar* to = numbers.data() + (numbers.size() - size);
  const Index row = part.cols();
  for (Index i = 0; i < part.rows(); ++i, to += row)
    MatrixMap<Scalar>(to, row / kernel, kernel) =
        ConstMatrixMap<Scalar>(part.row(i).data(), kernel, row / kernel).transpose();
}

}  // namespace detail

}  // namespace eigenformer::inline EIGENFORMER_ABI
