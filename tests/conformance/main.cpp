// Runs the cases of ONNX's operators that lie in folders FOLDER/.../CASE.safetensors:
//
//   conformance FOLDER...
//
// One line for every case that fails or is skipped, then "N passed, N failed, N skipped". Exit code 1 if any failed, 77
// if there was none to run.
#include <algorithm>
#include <cmath>
#include <iostream>

#include "conformance/operator_case.hpp"
#include "eigenformer/kernels/activations.hpp"
#include "eigenformer/kernels/cross_entropy.hpp"
#include "eigenformer/kernels/layer_norm.hpp"
#include "eigenformer/kernels/rms_norm.hpp"
#include "eigenformer/kernels/softmax.hpp"
#include "eigenformer/train/adam.hpp"

namespace eigenformer::conformance {

namespace {

/// Softmax along one axis: the library's own goes along rows.
template <class Function>
Results along_axis(const OperatorCase& c, Function function) {
  Array x = c.input("input");
  const auto rank = static_cast<Index>(x.shape.size());
  const Index given = c.attribute<Index>("axis", -1);
  const auto axis = static_cast<std::size_t>(given < 0 ? given + rank : given);
  const Index inner = x.size(axis + 1, x.shape.size());
  for (Index outer = 0; outer < x.size(0, axis); ++outer) {
    MatrixMap<float> part(x.values.data() + outer * x.shape[axis] * inner, x.shape[axis], inner);
    part = function(part.transpose()).transpose().eval();
  }
  return {{"output", x}};
}

Results gelu_operator(const OperatorCase& c) {
  Array x = c.input("X");
  MatrixMap<float> all = x.matrix(0);
  all = c.attribute<std::string>("approximate", "none") == "tanh" ? gelu_tanh(all) : gelu(all);
  return {{"Y", x}};
}

Results layer_normalization(const OperatorCase& c) {
  const Index axis = c.attribute<Index>("axis", -1);
  Array x = c.input("X"), gain = c.input("Scale");
  const auto first = static_cast<std::size_t>(axis < 0 ? axis + static_cast<Index>(x.shape.size()) : axis);
  std::vector<Index> mean_shape = x.shape;
  std::fill(mean_shape.begin() + static_cast<std::ptrdiff_t>(first), mean_shape.end(), 1);
  Array mean = Array::of_shape(mean_shape);
  Array rstd = mean, y = x;
  Array bias = c.has("B") ? c.input("B") : Array::of_shape(gain.shape);
  const Index rows = x.size(0, first);
  layer_norm_forward<float>(
      {x.matrix(axis), gain.matrix(0), bias.matrix(0)}, c.attribute("epsilon", 1e-5),
      {y.matrix(axis), MatrixMap<float>(mean.values.data(), rows, 1), MatrixMap<float>(rstd.values.data(), rows, 1)});
  return {{"Y", y}, {"Mean", mean}, {"InvStdDev", rstd}};
}

Results rms_normalization(const OperatorCase& c) {
  const Index axis = c.attribute<Index>("axis", -1);
  Array x = c.input("X"), gain = c.input("scale");
  MatrixMap<float> rows = x.matrix(axis);
  rows = rms_norm(rows, gain.matrix(0), c.attribute("epsilon", 1e-5));
  return {{"Y", x}};
}

Results softmax_cross_entropy(const OperatorCase& c) {
  Array scores = c.input("scores");
  const std::vector<Index> labels = c.whole_numbers("labels");
  const Index classes = scores.shape[1], inner = scores.size(2, scores.shape.size());
  const auto tokens = static_cast<Index>(labels.size());
  // [batch x classes x ..] becomes [tokens x classes].
  Matrix<float> logits(tokens, classes);
  const auto for_each_batch = [&](auto body) {
    for (Index b = 0; b < scores.shape[0]; ++b) {
      MatrixMap<float> part(scores.values.data() + b * classes * inner, classes, inner);
      body(part, b * inner);
    }
  };
  for_each_batch([&](auto& part, Index row) { logits.middleRows(row, inner) = part.transpose(); });

  const std::vector<Token> tokens_of(labels.begin(), labels.end());
  const auto reduction = c.attribute<std::string>("reduction", "mean");
  CrossEntropyOptions options;
  options.ignore_index = c.attribute<Token>("ignore_index", options.ignore_index);
  options.reduction = reduction == "sum" ? Reduction::sum : Reduction::mean;
  std::vector<double> weights;
  if (c.has("weights")) {
    const Array given = c.input("weights");
    weights.assign(given.values.begin(), given.values.end());
  }
  options.class_weights = weights;
  Results results;
  Array& loss = results["output"];
  if (reduction == "none") {
    const Matrix<float> rows = cross_entropy_rows(logits, tokens_of, options);
    loss = Array::of_shape(scores.shape);
    loss.shape.erase(loss.shape.begin() + 1);
    loss.values.assign(rows.data(), rows.data() + rows.size());
  } else {
    loss.values = {cross_entropy(logits, tokens_of, options)};
  }
  const Matrix<float> log_probabilities = log_softmax(logits);
  for_each_batch([&](auto& part, Index row) { part = log_probabilities.middleRows(row, inner).transpose(); });
  results["log_prob"] = scores;
  return results;
}

struct Parameters {
  std::vector<Parameter<float>> x;
  static void visit(auto& self, auto&& visitor) { visitor("x", self.x); }
};

/// Inputs are R, T, then all X, all G, all V and all H; outputs all X, all V and all H. The case's tensors are named by
/// the operator while it has names for them, and then by their place.
Results adam(const OperatorCase& c) {
  if (c.whole_numbers("T")[0] != 0) throw Unsupported("Adam's bias correction before epsilon is added");
  if (c.attribute("norm_coefficient_post", 0.0) != 0) throw Unsupported("a decay after the update");
  const std::array<const char*, 6> input_names = {"R", "T", "X", "G", "V", "H"};
  const std::array<const char*, 3> output_names = {"X_new", "V_new", "H_new"};
  const auto name = [](const auto& names, std::size_t i) {
    return i < names.size() ? std::string(names[i]) : "x" + std::to_string(i);
  };
  std::size_t inputs = 2;
  while (c.has(name(input_names, inputs))) ++inputs;
  const std::size_t count = (inputs - 2) / 4;
  std::vector<Array> x, g, v, h;
  for (std::size_t i = 0; i < count; ++i) {
    x.push_back(c.input(name(input_names, 2 + i)));
    g.push_back(c.input(name(input_names, 2 + count + i)));
    v.push_back(c.input(name(input_names, 2 + 2 * count + i)));
    h.push_back(c.input(name(input_names, 2 + 3 * count + i)));
  }

  Parameters model;
  Gradients<float> gradients;
  for (Array& values : x) model.x.push_back(Parameter<float>(Matrix<float>(values.matrix(0))));
  for (std::size_t i = 0; i < count; ++i)
    gradients.add(model.x[i], {g[i].values.data(), 1, static_cast<Index>(g[i].values.size())});
  Adam<float> optimiser({.beta1 = c.attribute("alpha", 0.9),
                         .beta2 = c.attribute("beta", 0.999),
                         .epsilon = c.attribute("epsilon", 0.0),
                         .weight_decay = c.attribute("norm_coefficient", 0.0),
                         .bias_correction = false});
  optimiser.restore(model, 0);
  const auto moments = [&](const char* of, std::vector<Array>& arrays, bool set) {
    std::size_t i = 0;
    for_each_parameter(optimiser, [&](const std::string& moment, Parameter<float>& values) {
      if (!moment.starts_with(of)) return;
      if (set)
        values.value = arrays[i].matrix(0);
      else
        arrays[i].matrix(0) = values.value;
      ++i;
    });
  };
  moments("first_moment", v, true);
  moments("second_moment", h, true);
  optimiser.update(model, gradients, static_cast<double>(c.input("R").values[0]));
  moments("first_moment", v, false);
  moments("second_moment", h, false);
  Results results;
  for (std::size_t i = 0; i < count; ++i) {
    x[i].matrix(0) = model.x[i].value;
    results[name(output_names, i)] = x[i];
    results[name(output_names, count + i)] = v[i];
    results[name(output_names, 2 * count + i)] = h[i];
  }
  return results;
}

Results run(const OperatorCase& c) {
  if (c.op() == "Attention") return attention(c);
  if (c.op() == "RotaryEmbedding") return rotary_embedding(c);
  if (c.op() == "LayerNormalization") return layer_normalization(c);
  if (c.op() == "RMSNormalization") return rms_normalization(c);
  if (c.op() == "Gelu") return gelu_operator(c);
  if (c.op() == "SoftmaxCrossEntropyLoss") return softmax_cross_entropy(c);
  if (c.op() == "Softmax") return along_axis(c, [](const auto& x) { return softmax(x); });
  if (c.op() == "LogSoftmax") return along_axis(c, [](const auto& x) { return log_softmax(x); });
  if (c.op() == "Adam") return adam(c);
  if (c.op() == "RNN" || c.op() == "GRU" || c.op() == "LSTM") return recurrent_operator(c);
  throw Unsupported("the operator " + c.op());
}

/// What is wrong with the results; empty if nothing is.
std::string difference(const OperatorCase& c, const Results& results) {
  const std::string prefix = "output.";
  for (const std::string& tensor : c.tensors()) {
    if (!tensor.starts_with(prefix)) continue;
    const auto found = results.find(tensor.substr(prefix.size()));
    if (found == results.end()) return tensor + " was not made";
    const Array expected = c.array(tensor);
    const Array& given = found->second;
    if (given.shape != expected.shape)
      return tensor + " has the shape " + detail::dimensions_text(given.shape) + ", expected " +
             detail::dimensions_text(expected.shape);
    double largest = 0;  // in units of what is allowed
    for (std::size_t i = 0; i < expected.values.size(); ++i) {
      const double x = given.values[i], y = expected.values[i];
      if (x == y) continue;
      const double error = std::abs(x - y) / (c.tolerance() * (1 + std::abs(y)));
      if (!(error <= largest)) largest = error;
    }
    if (!(largest <= 1)) return tensor + " is off by " + std::to_string(largest) + " times the tolerance";
  }
  return "";
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
      const OperatorCase c(path);
      fault = difference(c, run(c));
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
