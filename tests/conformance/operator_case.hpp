// One case of an operator: a safetensors file with tensors input.NAME and output.NAME, and the operator's attributes as
// JSON in its metadata. NAME is the operator's own name of the input or output.
#pragma once

#include <algorithm>
#include <map>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "eigenformer/core/tensor.hpp"
#include "eigenformer/io/safetensors.hpp"

namespace eigenformer::conformance {

/// Says what the runner cannot do. The case is then skipped.
struct Unsupported : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// Numbers of any rank, row-major.
template <class Scalar>
struct Array {
  std::vector<Index> shape;
  std::vector<Scalar> values;

  static Array of_shape(std::vector<Index> shape, Scalar value = 0) {
    Array array{std::move(shape), {}};
    array.values.assign(static_cast<std::size_t>(array.size(0, array.shape.size())), value);
    return array;
  }

  static Array of_tensor(const Tensor<Scalar>& tensor) {
    return {{tensor.shape().begin(), tensor.shape().end()}, {tensor.data(), tensor.data() + tensor.size()}};
  }

  Index rank() const { return static_cast<Index>(shape.size()); }
  /// Returns the axis counted from the front. A negative axis counts from the end.
  std::size_t axis_at(Index axis) const { return static_cast<std::size_t>(axis < 0 ? axis + rank() : axis); }
  /// Returns the product of the dimensions from `begin` to before `end`.
  Index size(std::size_t begin, std::size_t end) const {
    Index size = 1;
    for (std::size_t i = begin; i < end; ++i) size *= shape[i];
    return size;
  }
  Index size() const { return static_cast<Index>(values.size()); }

  TensorView<const Scalar> view() const { return {values, Sizes(std::span<const Index>(shape))}; }
  /// Returns a matrix of all numbers. Its rows are the dimensions before `axis`, its columns the others.
  MatrixMap<Scalar> matrix(Index axis) {
    const std::size_t split = axis_at(axis);
    return {values.data(), size(0, split), size(split, shape.size())};
  }
  ConstMatrixMap<Scalar> matrix(Index axis) const {
    const std::size_t split = axis_at(axis);
    return {values.data(), size(0, split), size(split, shape.size())};
  }
};

template <class Scalar>
using Results = std::map<std::string, Array<Scalar>>;

class OperatorCase {
 public:
  explicit OperatorCase(const std::filesystem::path& path)
      : file_(path), attributes_(parse_json(note("attributes"), file_.name() + ": attributes")) {}

  std::string op() const { return note("op"); }
  Index opset() const { return std::stoll(note("opset")); }
  const std::vector<std::string>& tensors() const { return file_.names(); }

  template <class T>
  T attribute(const char* name, T otherwise) const {
    return attributes_.value(name, otherwise);
  }
  bool has_attribute(const char* name) const { return attributes_.contains(name); }
  bool flag(const char* name) const { return attribute<Index>(name, 0) != 0; }
  /// Returns an attribute that ONNX stores as a float. So does its default: 0.999 is 0.999F.
  double number(const char* name, float otherwise) const { return attribute<float>(name, otherwise); }

  bool has(const std::string& input) const { return file_.contains("input." + input); }
  bool expects(const std::string& output) const { return file_.contains("output." + output); }
  DType dtype(const std::string& tensor) const { return file_.dtype(tensor); }
  template <class Scalar>
  Array<Scalar> input(const std::string& name) const {
    return array<Scalar>("input." + name);
  }
  /// Returns a tensor of any type as numbers. True is 1, false 0.
  template <class Scalar>
  Array<Scalar> array(const std::string& tensor) const {
    if (is_floating(dtype(tensor))) return {file_.shape(tensor), file_.values<Scalar>(tensor)};
    const std::vector<Index> whole = file_.values<Index>(tensor);
    Array<Scalar> numbers{file_.shape(tensor), {}};
    for (const Index n : whole) numbers.values.push_back(static_cast<Scalar>(n));
    return numbers;
  }
  std::vector<Index> whole_numbers(const std::string& input) const { return file_.values<Index>("input." + input); }

  /// Whether the case is computed in double. Every other case is computed in float.
  bool in_double() const {
    return std::any_of(tensors().begin(), tensors().end(),
                       [&](const std::string& tensor) { return dtype(tensor) == DType::f64; });
  }

  /// Returns how far a result may be from what is expected: this much, and this share of it. The coarsest type in the
  /// case decides, or the coarsest type in which its operator may compute.
  double tolerance() const;

 private:
  static bool is_floating(DType type) {
    return type == DType::f64 || type == DType::f32 || type == DType::f16 || type == DType::bf16;
  }
  std::string note(const std::string& key) const {
    const auto found = file_.metadata().find(key);
    check(found != file_.metadata().end(), "conformance: ", file_.name(), " has no ", key);
    return found->second;
  }

  SafetensorsFile file_;
  Json attributes_;
};

// The operators, instantiated for float and double.
template <class Scalar>
Results<Scalar> attention_operator(const OperatorCase& c);
template <class Scalar>
Results<Scalar> rotary_embedding(const OperatorCase& c);
template <class Scalar>
Results<Scalar> recurrent_operator(const OperatorCase& c);
template <class Scalar>
Results<Scalar> softmax_operator(const OperatorCase& c);  // Softmax and LogSoftmax
template <class Scalar>
Results<Scalar> softmax_cross_entropy(const OperatorCase& c);
template <class Scalar>
Results<Scalar> negative_log_likelihood(const OperatorCase& c);
template <class Scalar>
Results<Scalar> layer_normalization(const OperatorCase& c);
template <class Scalar>
Results<Scalar> rms_normalization(const OperatorCase& c);
template <class Scalar>
Results<Scalar> gelu_operator(const OperatorCase& c);
template <class Scalar>
Results<Scalar> adam_operator(const OperatorCase& c);

}  // namespace eigenformer::conformance
