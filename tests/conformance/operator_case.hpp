// One case of an operator: a safetensors file with tensors input.NAME and output.NAME, and the operator's attributes as
// JSON in its metadata.
#pragma once

#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include "eigenformer/io/safetensors.hpp"

namespace eigenformer::conformance {

/// What the library does not do. The case is skipped, and this says why.
struct Unsupported : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// Numbers of any rank, row-major.
struct Array {
  std::vector<Index> shape;
  std::vector<float> values;

  /// The product of the dimensions from `begin` to before `end`.
  Index size(std::size_t begin, std::size_t end) const {
    Index size = 1;
    for (std::size_t i = begin; i < end; ++i) size *= shape[i];
    return size;
  }
  /// The dimensions before `axis` as rows, the others as columns. A negative axis counts from the end.
  MatrixMap<float> matrix(Index axis) {
    const std::size_t split = static_cast<std::size_t>(axis < 0 ? axis + static_cast<Index>(shape.size()) : axis);
    return {values.data(), size(0, split), size(split, shape.size())};
  }
  /// One that is to be filled.
  static Array of_shape(std::vector<Index> shape) {
    Array array{std::move(shape), {}};
    array.values.resize(static_cast<std::size_t>(array.size(0, array.shape.size())));
    return array;
  }
};

using Results = std::map<std::string, Array>;

class OperatorCase {
 public:
  explicit OperatorCase(const std::filesystem::path& path)
      : file_(path), attributes_(parse_json(note("attributes"), file_.name() + ": attributes")) {}

  std::string op() const { return note("op"); }
  const std::vector<std::string>& tensors() const { return file_.names(); }

  template <class T>
  T attribute(const char* name, T otherwise) const {
    return attributes_.value(name, otherwise);
  }

  bool has_attribute(const char* name) const { return attributes_.contains(name); }
  bool has(const std::string& input) const { return file_.contains("input." + input); }
  DType dtype(const std::string& input) const { return file_.dtype("input." + input); }
  Array input(const std::string& name) const { return array("input." + name); }
  Array array(const std::string& tensor) const {
    if (file_.dtype(tensor) != DType::boolean) return {file_.shape(tensor), file_.values<float>(tensor)};
    const std::vector<std::uint8_t> bits = file_.values<std::uint8_t>(tensor);
    return {file_.shape(tensor), std::vector<float>(bits.begin(), bits.end())};
  }
  std::vector<Index> whole_numbers(const std::string& input) const { return file_.values<Index>("input." + input); }

  /// How far a result may be from what is expected: this much, and this share of it.
  double tolerance() const {
    for (const std::string& tensor : tensors())
      if (file_.dtype(tensor) == DType::f16) return 5e-3;
    return 1e-5;
  }

 private:
  std::string note(const std::string& key) const {
    const auto found = file_.metadata().find(key);
    check(found != file_.metadata().end(), "conformance: ", file_.name(), " has no ", key);
    return found->second;
  }

  SafetensorsFile file_;
  Json attributes_;
};

Results attention(const OperatorCase& c);
Results rotary_embedding(const OperatorCase& c);
Results recurrent_operator(const OperatorCase& c);

}  // namespace eigenformer::conformance
