// Lists tensors as text, to compare those of a model with those that its options announce.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "eigenformer/autograd/parameter.hpp"
#include "eigenformer/io/tensor_shapes.hpp"

namespace eigenformer::testing {

inline std::string tensor_text(const std::string& name, const Shape& shape) {
  return name + " [" + std::to_string(shape.rows) + " x " + std::to_string(shape.cols) + ']';
}

/// Returns names and shapes of the parameters of a model, sorted.
template <class Model>
std::vector<std::string> tensors_of_model(const Model& model) {
  std::vector<std::string> tensors;
  for_each_parameter(model, [&](const std::string& name, const auto& parameter) {
    tensors.push_back(tensor_text(name, shape(parameter.value)));
  });
  std::sort(tensors.begin(), tensors.end());
  return tensors;
}

/// Returns names and shapes that visit_tensors announces for the options, sorted. scores: the NamedScores of a
/// Transformer, or nothing.
template <class Options, class... Scores>
std::vector<std::string> tensors_of_options(const Options& options, const Scores&... scores) {
  std::vector<std::string> tensors;
  visit_tensors(
      options, [&](const std::string& name, const Shape& shape) { tensors.push_back(tensor_text(name, shape)); },
      scores...);
  std::sort(tensors.begin(), tensors.end());
  return tensors;
}

}  // namespace eigenformer::testing
