// One case of torch_reference.safetensors, which make_torch_reference.py wrote.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "eigenformer/io/torch_state_dict.hpp"
#include "eigenformer/ops/arithmetic.hpp"
#include "support/approx.hpp"
#include "support/catch.hpp"
#include "support/temporary_folder.hpp"

namespace eigenformer::testing {

inline const SafetensorsFile& torch_reference() {
  static const SafetensorsFile file(TESTS_FOLDER "/parity/torch_reference.safetensors");
  return file;
}

/// One case of the file, run with one scalar.
template <class Scalar>
class TorchCase {
 public:
  explicit TorchCase(std::string name) : name_(std::move(name)) {}

  bool has(const std::string& what) const { return torch_reference().contains(name_ + '/' + what); }
  Matrix<Scalar> matrix(const std::string& what) const { return torch_reference().matrix<Scalar>(name_ + '/' + what); }
  RowOffsets rows(const std::string& what) const {
    return has(what) ? RowOffsets(torch_reference().values<Index>(name_ + '/' + what)) : RowOffsets();
  }
  Variable<Scalar> input(const std::string& what) {
    inputs_.emplace_back(what, tape.variable(matrix("input/" + what)));
    return inputs_.back().second;
  }

  /// Gives the layer PyTorch's parameters, from the module's state dict. Checks that they come back when written.
  template <class Layer>
  void load(Layer& layer) {
    load_torch_state_dict(torch_reference(), layer, name_ + "/parameter/");
    const TemporaryFolder folder;
    save_torch_state_dict(folder / "state.safetensors", layer, name_ + "/parameter/");
    compare_tensors(SafetensorsFile(folder / "state.safetensors"), 0);
  }

  /// Compares the output, the gradients of the inputs, and the gradients of the module's parameters.
  template <class Layer>
  void compare(const Variable<Scalar>& y, const Layer& layer) {
    const double largest = std::is_same_v<Scalar, float> ? 1e-5 : 1e-10;
    CAPTURE(name_, largest);
    CHECK(max_error(y.value(), matrix("output/y")) <= largest);
    const Context<Scalar> context{.tape = &tape};
    tape.backward(sum(context, multiply(context, y, Variable<Scalar>(matrix("cotangent")))));
    for (const auto& [input, variable] : inputs_) {
      CAPTURE(input);
      CHECK(max_error(tape.gradient(variable), matrix("gradient/" + input)) <= largest);
    }

    const TemporaryFolder folder;
    save_torch_gradients(folder / "gradients.safetensors", layer, tape.gradients(), name_ + "/gradient/");
    compare_tensors(SafetensorsFile(folder / "gradients.safetensors"), largest);
  }

  Tape<Scalar> tape;

 private:
  /// Compares a file with one tensor for each of the module's parameters to the reference.
  void compare_tensors(const SafetensorsFile& file, double largest) const {
    std::size_t expected = 0;
    for (const std::string& tensor : torch_reference().names())
      expected += tensor.starts_with(name_ + "/parameter/") ? 1 : 0;
    CHECK(file.names().size() == expected);
    for (const std::string& tensor : file.names()) {
      CAPTURE(tensor);
      REQUIRE(torch_reference().contains(tensor));
      CHECK(file.shape(tensor) == torch_reference().shape(tensor));
      CHECK(max_error(row(file, tensor), row(torch_reference(), tensor)) <= largest);
    }
  }
  static Matrix<Scalar> row(const SafetensorsFile& file, const std::string& tensor) {
    const std::vector<Scalar> numbers = file.values<Scalar>(tensor);
    return ConstMatrixMap<Scalar>(numbers.data(), 1, static_cast<Index>(numbers.size()));
  }

  std::string name_;
  std::vector<std::pair<std::string, Variable<Scalar>>> inputs_;
};

}  // namespace eigenformer::testing
