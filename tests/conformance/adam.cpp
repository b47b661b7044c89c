// ONNX's Adam.
#include "eigenformer/train/adam.hpp"

#include <array>
#include <cmath>
#include <limits>

#include "conformance/operator_case.hpp"

namespace eigenformer::conformance {

namespace {

template <class Scalar>
struct Parameters {
  std::vector<Parameter<Scalar>> x;
  static void visit(auto& self, auto&& visitor) { visitor("x", self.x); }
};

/// Returns the learning rate with both corrections for moments that start at zero. The library's own correction divides
/// the moments, so its epsilon has another weight.
double corrected_rate(double rate, Index updates, double alpha, double beta) {
  if (updates <= 0) return rate;
  const auto t = static_cast<double>(updates);
  return rate * std::sqrt(1 - std::pow(beta, t)) / (1 - std::pow(alpha, t));
}

}  // namespace

/// Inputs are R, T, then all X, all G, all V and all H; outputs are all X, all V and all H. The case names its tensors
/// by the operator's names while it has some, and then by their place.
template <class Scalar>
Results<Scalar> adam_operator(const OperatorCase& c) {
  const std::array<const char*, 6> input_names = {"R", "T", "X", "G", "V", "H"};
  const std::array<const char*, 3> output_names = {"X_new", "V_new", "H_new"};
  const auto name = [](const auto& names, std::size_t i) {
    return i < names.size() ? std::string(names[i]) : "x" + std::to_string(i);
  };
  std::size_t inputs = 2;
  while (c.has(name(input_names, inputs))) ++inputs;
  const std::size_t count = (inputs - 2) / 4;
  const auto group = [&](std::size_t number) {
    std::vector<Array<Scalar>> arrays;
    for (std::size_t i = 0; i < count; ++i)
      arrays.push_back(c.input<Scalar>(name(input_names, 2 + number * count + i)));
    return arrays;
  };
  std::vector<Array<Scalar>> x = group(0), g = group(1), v = group(2), h = group(3);

  Parameters<Scalar> model;
  Gradients<Scalar> gradients;
  for (const Array<Scalar>& values : x) model.x.push_back(Parameter<Scalar>(Matrix<Scalar>(values.matrix(0))));
  for (std::size_t i = 0; i < count; ++i) gradients.add(model.x[i], {g[i].values.data(), 1, g[i].size()});
  const double alpha = c.number("alpha", 0.9F), beta = c.number("beta", 0.999F);
  // The library wants an epsilon above 0.
  const double smallest = std::numeric_limits<float>::min();
  Adam<Scalar> optimiser({.beta1 = alpha,
                          .beta2 = beta,
                          .epsilon = std::max(c.number("epsilon", 1e-6F), smallest),
                          .weight_decay = c.number("norm_coefficient", 0),
                          .bias_correction = false});
  optimiser.restore(model, 0);
  const auto for_each_moment = [&](const std::string& of, auto body) {
    std::size_t i = 0;
    for_each_parameter(optimiser, [&](const std::string& moment, Parameter<Scalar>& values) {
      if (moment.starts_with(of)) body(values.value, i++);
    });
  };
  for_each_moment("first_moment", [&](Matrix<Scalar>& moment, std::size_t i) { moment = v[i].matrix(0); });
  for_each_moment("second_moment", [&](Matrix<Scalar>& moment, std::size_t i) { moment = h[i].matrix(0); });
  const double rate = c.input<double>("R").values.at(0);
  optimiser.update(model, gradients, corrected_rate(rate, c.whole_numbers("T").at(0), alpha, beta));
  for_each_moment("first_moment", [&](const Matrix<Scalar>& moment, std::size_t i) { v[i].matrix(0) = moment; });
  for_each_moment("second_moment", [&](const Matrix<Scalar>& moment, std::size_t i) { h[i].matrix(0) = moment; });

  const auto keep = static_cast<Scalar>(1 - c.number("norm_coefficient_post", 0));
  Results<Scalar> results;
  for (std::size_t i = 0; i < count; ++i) {
    x[i].matrix(0) = keep * model.x[i].value;
    results[name(output_names, i)] = x[i];
    results[name(output_names, count + i)] = v[i];
    results[name(output_names, 2 * count + i)] = h[i];
  }
  return results;
}

template Results<float> adam_operator(const OperatorCase&);
template Results<double> adam_operator(const OperatorCase&);

}  // namespace eigenformer::conformance
