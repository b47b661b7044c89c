// Runs the cases of ONNX's operators that lie in folders FOLDER/.../CASE.safetensors:
//
//   conformance FOLDER...
//
// Prints a line for every case that fails or is skipped, then "N passed, N failed, N skipped". The exit code is 1 if
// any case failed, and 77 if there was none to run.
#include <algorithm>
#include <cmath>
#include <iostream>

#include "conformance/operator_case.hpp"

namespace eigenformer::conformance {

double OperatorCase::tolerance() const {
  const auto of_type = [](DType type) {
    switch (type) {
      case DType::bf16:
        return 4e-2;
      case DType::f16:
        return 5e-3;
      case DType::f32:
        return 1e-5;
      default:
        return 1e-7;  // ONNX's reference evaluator rounds some constants to float
    }
  };
  // The numbers that ONNX gives to types in attributes.
  const auto of_number = [&](Index number) {
    return of_type(number == 1 ? DType::f32 : number == 10 ? DType::f16 : number == 16 ? DType::bf16 : DType::f64);
  };
  double largest = of_number(attribute<Index>("softmax_precision", 11));
  if (op() == "LayerNormalization" || op() == "RMSNormalization")
    largest = std::max(largest, of_number(attribute<Index>("stash_type", 1)));
  for (const std::string& tensor : tensors()) largest = std::max(largest, of_type(dtype(tensor)));
  return largest;
}

namespace {

template <class Scalar>
Results<Scalar> run(const OperatorCase& c) {
  const std::map<std::string, Results<Scalar> (*)(const OperatorCase&)> operators = {
      {"Adam", adam_operator<Scalar>},
      {"Attention", attention_operator<Scalar>},
      {"GRU", recurrent_operator<Scalar>},
      {"Gelu", gelu_operator<Scalar>},
      {"LSTM", recurrent_operator<Scalar>},
      {"LayerNormalization", layer_normalization<Scalar>},
      {"LogSoftmax", softmax_operator<Scalar>},
      {"NegativeLogLikelihoodLoss", negative_log_likelihood<Scalar>},
      {"RMSNormalization", rms_normalization<Scalar>},
      {"RNN", recurrent_operator<Scalar>},
      {"RotaryEmbedding", rotary_embedding<Scalar>},
      {"Softmax", softmax_operator<Scalar>},
      {"SoftmaxCrossEntropyLoss", softmax_cross_entropy<Scalar>},
  };
  const auto found = operators.find(c.op());
  if (found == operators.end()) throw Unsupported("the operator " + c.op());
  return found->second(c);
}

/// Returns what is wrong with the results, or an empty text if nothing is.
template <class Scalar>
std::string difference(const OperatorCase& c, const Results<Scalar>& results) {
  const std::string prefix = "output.";
  for (const std::string& tensor : c.tensors()) {
    if (!tensor.starts_with(prefix)) continue;
    const auto found = results.find(tensor.substr(prefix.size()));
    if (found == results.end()) return tensor + " was not made";
    const Array<Scalar> expected = c.array<Scalar>(tensor);
    const Array<Scalar>& given = found->second;
    if (given.shape != expected.shape)
      return tensor + " has the shape " + detail::dimensions_text(given.shape) + ", expected " +
             detail::dimensions_text(expected.shape);
    double largest = 0;  // in units of what is allowed
    for (std::size_t i = 0; i < expected.values.size(); ++i) {
      const double x = given.values[i], y = expected.values[i];
      if (x == y || (std::isnan(x) && std::isnan(y))) continue;
      const double error = std::abs(x - y) / (c.tolerance() * (1 + std::abs(y)));
      if (!(error <= 1))
        return tensor + '[' + std::to_string(i) + "] is " + std::to_string(x) + ", expected " + std::to_string(y) +
               ", off by " + std::to_string(error) + " times the tolerance";
      largest = std::max(largest, error);
    }
  }
  return "";
}

std::string fault_of(const OperatorCase& c) {
  return c.in_double() ? difference(c, run<double>(c)) : difference(c, run<float>(c));
}

int run_folders(const std::vector<std::filesystem::path>& folders) {
  std::vector<std::filesystem::path> paths;
  for (const std::filesystem::path& folder : folders)
    if (std::filesystem::is_directory(folder))
      for (const auto& entry : std::filesystem::recursive_directory_iterator(folder))
        if (entry.path().extension() == ".safetensors") paths.push_back(entry.path());
  std::sort(paths.begin(), paths.end());
  int passed = 0, failed = 0, skipped = 0;
  for (const std::filesystem::path& path : paths) {
    const std::string name = path.parent_path().filename().string() + "/" + path.stem().string();
    std::string fault;
    try {
      fault = fault_of(OperatorCase(path));
    } catch (const Unsupported& reason) {
      std::cout << "skipped " << name << ": " << reason.what() << '\n';
      ++skipped;
      continue;
    } catch (const std::exception& error) {
      fault = error.what();
    }
    if (fault.empty()) {
      ++passed;
      continue;
    }
    std::cout << "failed " << name << ": " << fault << '\n';
    ++failed;
  }
  std::cout << passed << " passed, " << failed << " failed, " << skipped << " skipped\n";
  if (failed > 0) return 1;
  return paths.empty() ? 77 : 0;
}

}  // namespace

}  // namespace eigenformer::conformance

int main(int count, char** arguments) {
  if (count < 2) {
    std::cerr << "usage: conformance FOLDER...\n";
    return 2;
  }
  try {
    return eigenformer::conformance::run_folders({arguments + 1, arguments + count});
  } catch (const std::exception& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
}
