// Saving and loading of all named parameters of a model, as one safetensors file.
//
// Matrices with more than one row may be stored in fewer bits. Loading converts them back to the model's scalar:
//
//   bfloat16   a BF16 tensor
//   int8       an I8 tensor NAME, [rows x cols], and an F32 tensor NAME_scale, [rows]. Entry (i, j) is
//              NAME(i, j) * NAME_scale(i).
#pragma once

#include <deque>
#include <filesystem>
#include <map>
#include <string>
#include <type_traits>
#include <unordered_set>
#include <vector>

#include "eigenformer/autograd/parameter.hpp"
#include "eigenformer/io/safetensors.hpp"
#include "eigenformer/kernels/quantization.hpp"
#include "eigenformer/kernels/weight_type.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

namespace detail {

/// Returns the name of the scales of a tensor of 8-bit integers.
inline std::string scales_name(const std::string& tensor) {
  return tensor + "_scale";
}

/// The tensors of a file to be written. Owns the matrices that were converted for it.
class StoredTensors {
 public:
  explicit StoredTensors(WeightType type) : type_(type) {}

  /// Adds a parameter, which must outlive this object.
  template <class Scalar>
  void add(const std::string& name, const Matrix<Scalar>& value) {
    if (type_ == WeightType::float32 || value.rows() <= 1) {
      tensors.push_back(named_tensor(name, value));
    } else if (type_ == WeightType::bfloat16) {
      tensors.push_back(named_tensor(name, bfloat16_.emplace_back(value.template cast<Eigen::bfloat16>())));
    } else {
      const QuantizedRows& quantized = int8_.emplace_back(quantize_rows(value.template cast<float>()));
      tensors.push_back(named_tensor(name, quantized.values));
      tensors.push_back(named_tensor(scales_name(name), quantized.scales));
      tensors.back().shape = {value.rows()};
    }
  }

  std::vector<NamedTensor> tensors;

 private:
  WeightType type_;
  std::deque<Matrix<Eigen::bfloat16>> bfloat16_;
  std::deque<QuantizedRows> int8_;
};

}  // namespace detail

/// Writes every parameter of a layer, model or optimiser under the name that its `visit` gives. type: the type in which
/// matrices with more than one row are stored. With float32 they keep their type, as other parameters do.
/// Throws as write_safetensors does.
template <class Model>
void save_parameters(const std::filesystem::path& path, const Model& model,
                     const std::map<std::string, std::string>& metadata = {}, WeightType type = WeightType::float32) {
  detail::StoredTensors stored(type);
  for_each_parameter(model, [&](const std::string& name, const auto& parameter) { stored.add(name, parameter.value); });
  write_safetensors(path, std::move(stored.tensors), metadata);
}

namespace detail {

inline bool is_floating(DType type) {
  return type == DType::f64 || type == DType::f32 || type == DType::f16 || type == DType::bf16;
}

/// Throws unless the file has a tensor of this name and shape, of a floating type or of 8-bit integers with scales. A
/// tensor of rank 1 counts as one row. `where` is the prefix of the message.
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
  if (is_floating(type)) return;
  const std::string scales = scales_name(name);
  if (type != DType::i8 || !file.contains(scales))
    fail(where, ": tensor \"", name, "\" is of ", dtype_name(type), ", expected F64, F32, F16 or BF16, or I8 with \"",
         scales, '"');
  if (file.shape(scales) != std::vector<Index>{expected.rows} || !is_floating(file.dtype(scales)))
    fail(where, ": tensor \"", scales, "\" is ", dimensions_text(file.shape(scales)), " of ",
         dtype_name(file.dtype(scales)), ", expected [", expected.rows, "] of F32");
}

/// Returns a tensor that check_tensor accepts, as floating numbers.
template <class Scalar>
Matrix<Scalar> stored_matrix(const SafetensorsFile& file, const std::string& name) {
  if (is_floating(file.dtype(name))) return file.matrix<Scalar>(name);
  const Matrix<float> scales = file.matrix<float>(scales_name(name));
  return dequantize_rows({file.matrix<std::int8_t>(name), scales.transpose()}).template cast<Scalar>();
}

}  // namespace detail

/// Reads every parameter of `model`, whose parameters must already have their shapes. Converts between floating types,
/// and from 8-bit integers with scales. Throws, and leaves the model unchanged, if the file lacks a parameter, has a
/// tensor that the model lacks, or has a tensor of another shape or any other type.
template <class Model>
void load_parameters(const SafetensorsFile& file, Model& model) {
  const std::string where = "load_parameters: " + file.name();
  std::unordered_set<std::string> wanted;
  for_each_parameter(model, [&](const std::string& name, const auto& parameter) {
    detail::check_tensor(file, name, shape(parameter.value), where);
    wanted.insert(name);
    if (file.dtype(name) == DType::i8) wanted.insert(detail::scales_name(name));
  });
  for (const std::string& name : file.names())
    check(wanted.count(name) > 0, where, ": tensor \"", detail::printable_name(name),
          "\" is not one of the model's parameters");
  for_each_parameter(model, [&](const std::string& name, auto& parameter) {
    using Scalar = typename std::remove_cvref_t<decltype(parameter.value)>::Scalar;
    parameter.value = detail::stored_matrix<Scalar>(file, name);
  });
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
