// Saving and loading of all named parameters of a model, as one safetensors file.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <type_traits>
#include <unordered_set>
#include <vector>

#include "eigenformer/autograd/parameter.hpp"
#include "eigenformer/io/safetensors.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// Writes every parameter of a layer, model or optimiser under the name that its `visit` gives. Throws as
/// write_safetensors does.
template <class Model>
void save_parameters(const std::filesystem::path& path, const Model& model,
                     const std::map<std::string, std::string>& metadata = {}) {
  std::vector<NamedTensor> tensors;
  for_each_parameter(model, [&](const std::string& name, const auto& parameter) {
    tensors.push_back(named_tensor(name, parameter.value));
  });
  write_safetensors(path, std::move(tensors), metadata);
}

namespace detail {

/// Throws unless the file has a tensor of this name and shape, of a floating type. A tensor of rank 1 counts as one
/// row. `where` is the prefix of the message.
inline void check_tensor(const SafetensorsFile& file, const std::string& name, const Shape& expected,
                         const std::string& where) {
  check(file.contains(name), where, ": has no tensor \"", name, '"');
  const std::vector<Index>& dimensions = file.shape(name);
  const Shape given = dimensions.size() == 2   ? Shape{dimensions[0], dimensions[1]}
                      : dimensions.size() == 1 ? Shape{1, dimensions[0]}
                                               : Shape{-1, -1};
  if (given != expected)
    fail(where, ": tensor \"", name, "\" is ", dimensions_text(dimensions), ", expected ", expected);
  const DType type = file.dtype(name);
  if (type != DType::f64 && type != DType::f32 && type != DType::f16 && type != DType::bf16)
    fail(where, ": tensor \"", name, "\" is of ", dtype_name(type), ", expected F64, F32, F16 or BF16");
}

}  // namespace detail

/// Reads every parameter of `model`, whose parameters must already have their shapes. Converts between floating types.
/// Throws, and leaves the model unchanged, if the file lacks a parameter, has a tensor that the model lacks, or has a
/// tensor of another shape or of a type that is not floating.
template <class Model>
void load_parameters(const SafetensorsFile& file, Model& model) {
  const std::string where = "load_parameters: " + file.name();
  std::unordered_set<std::string> wanted;
  for_each_parameter(model, [&](const std::string& name, const auto& parameter) {
    detail::check_tensor(file, name, shape(parameter.value), where);
    wanted.insert(name);
  });
  for (const std::string& name : file.names())
    check(wanted.count(name) > 0, where, ": tensor \"", name, "\" is not one of the model's parameters");
  for_each_parameter(model, [&](const std::string& name, auto& parameter) {
    using Scalar = typename std::remove_cvref_t<decltype(parameter.value)>::Scalar;
    parameter.value = file.matrix<Scalar>(name);
  });
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
