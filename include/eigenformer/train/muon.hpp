// The optimiser Muon: momentum, orthogonalised.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "eigenformer/core/detail/compiled.hpp"
#include "eigenformer/kernels/matmul.hpp"
#include "eigenformer/train/adam.hpp"
#include "eigenformer/train/parameter_list.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// Approximates the semi-orthogonal matrix nearest to x, by `steps` steps of the quintic Newton-Schulz iteration of
/// Jordan et al. 2024. Five steps bring the singular values to between about 0.7 and 1.2, except very small ones, which
/// stay smaller. Singular values of 0 stay 0.
///
///   X = x / |x|;   A = X X';   X = a X + (b A + c A A) X,   (a, b, c) = (3.4445, -4.7750, 2.0315)
template <class Scalar>
Matrix<Scalar> newton_schulz(const ConstMatrixRef<Scalar>& x, Index steps = 5, Threads* threads = nullptr);

/// Options of Muon. The defaults are those of Jordan et al. 2024, with the scale of Liu et al. 2025.
struct MuonOptions {
  double momentum = 0.95;
  bool nesterov = true;
  Index steps = 5;          // of Newton-Schulz
  double weight_decay = 0;  // of hidden matrices, decoupled: multiplies them by 1 - rate * weight_decay
  /// Root mean square of a matrix's update, before the learning rate. Adam's updates usually have 0.2, so one learning
  /// rate serves both optimisers (Liu et al. 2025, arXiv 2502.16982, section 2.2). If 0, the update is the
  /// semi-orthogonal matrix times sqrt(max(1, rows / columns)), as in Jordan et al. 2024.
  double rms = 0.2;
  AdamOptions adam{};  // of all other parameters
};

/// Updates hidden matrices by Muon (Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks"), and
/// all other parameters by Adam. With g the gradient of a matrix W:
///
///   m = momentum m + g
///   W = W - rate * scale * newton_schulz(nesterov ? g + momentum m : m)
///
/// Adam updates vectors, and matrices whose names contain "embedding", "generator" or "positions". Each row of such a
/// matrix belongs to a token or position. The constructor takes another choice of hidden matrices.
template <class Scalar>
class Muon {
 public:
  using scalar_type = Scalar;

  /// Throws unless momentum is in [0, 1) even when rounded to Scalar, steps, weight_decay and rms are 0 or more, and
  /// Adam accepts its options. is_hidden: returns whether the matrix of this name is a hidden one.
  explicit Muon(const MuonOptions& options = {},
                std::function<bool(const std::string& name)> is_hidden = is_usually_hidden)
      : options_(options), is_hidden_(std::move(is_hidden)), adam_(options.adam) {
    check(options.momentum >= 0 && static_cast<Scalar>(options.momentum) < 1, "Muon: momentum is ", options.momentum,
          ", expected 0 or more and less than 1");
    check(options.steps >= 0, "Muon: steps is ", options.steps, ", expected 0 or more");
    check(options.rms >= 0 && detail::is_finite(options.rms), "Muon: rms is ", options.rms, ", expected 0 or more");
    check(options.weight_decay >= 0 && detail::is_finite(static_cast<Scalar>(options.weight_decay)),
          "Muon: weight_decay is ", options.weight_decay, ", expected 0 or more");
  }

  const MuonOptions& options() const { return options_; }
  Index updates() const { return adam_.updates(); }

  /// Updates all parameters of the model that have a gradient. `gradients` are multiplied by `factor`. Throws, and
  /// changes nothing, in the cases in which Adam::update does.
  template <class Model>
  void update(Model& model, const Gradients<Scalar>& gradients, double rate, double factor = 1,
              Threads* threads = nullptr);

  /// Visits the momentum and Adam's moments by name, so that they can be saved and loaded like a model's parameters.
  static void visit(auto& self, auto&& visitor) {
    visitor("momentum", self.momentum_);
    visitor("adam", self.adam_);
  }
  /// Prepares loading: allocates the moments of `model` and sets the number of updates so far.
  template <class Model>
  void restore(const Model& model, Index updates);

 private:
  static bool is_usually_hidden(const std::string& name) {
    for (const char* const part : {"embedding", "generator", "positions"})
      if (name.find(part) != std::string::npos) return false;
    return true;
  }
  bool is_hidden(const std::string& name, const Parameter<Scalar>& x) const {
    return x.value.rows() > 1 && x.value.cols() > 1 && is_hidden_(name);
  }
  /// Returns the hidden matrices of the model, or all other parameters.
  template <class Model>
  ParameterList<Scalar> parameters(const Model& model, bool hidden) const {
    ParameterList<Scalar> list;
    for_each_parameter(model, [&](const std::string& name, const Parameter<Scalar>& x) {
      if (is_hidden(name, x) == hidden) list.parameters.emplace_back(name, const_cast<Parameter<Scalar>*>(&x));
    });
    return list;
  }
  /// Returns the factors of an update: of the matrix, and of the orthogonal direction.
  std::array<Scalar, 2> factors_of(const Matrix<Scalar>& x, double rate) const;
  void update_matrix(Matrix<Scalar>& x, Matrix<Scalar>& m, const Matrix<Scalar>& gradient, double rate, double factor,
                     Threads* threads) const;

  MuonOptions options_;
  std::function<bool(const std::string&)> is_hidden_;
  std::vector<Parameter<Scalar>> momentum_;  // of each hidden matrix, in the order of the model
  Adam<Scalar> adam_;
};

template <class Scalar>
Matrix<Scalar> newton_schulz(const ConstMatrixRef<Scalar>& x, Index steps, Threads* threads) {
  constexpr auto a = static_cast<Scalar>(3.4445), b = static_cast<Scalar>(-4.7750), c = static_cast<Scalar>(2.0315);
  const bool is_tall = x.rows() > x.cols();  // the smaller product suffices
  Matrix<Scalar> y = is_tall ? Matrix<Scalar>(x.transpose()) : Matrix<Scalar>(x);
  const Scalar largest = y.size() == 0 ? Scalar(0) : y.cwiseAbs().maxCoeff();
  if (largest == 0) return x;
  y /= largest;  // so that no square overflows or vanishes
  y /= y.norm();
  Matrix<Scalar> gram(y.rows(), y.rows()), square(y.rows(), y.rows()), product(y.rows(), y.cols());
  for (Index step = 0; step < steps; ++step) {
    const Matrix<Scalar> transposed = y.transpose();
    matmul_forward<Scalar>(y, transposed, gram, threads);
    matmul_forward<Scalar>(gram, gram, square, threads);
    gram = b * gram + c * square;
    matmul_forward<Scalar>(gram, y, product, threads);
    y = a * y + product;
  }
  return is_tall ? Matrix<Scalar>(y.transpose()) : y;
}

template <class Scalar>
template <class Model>
void Muon<Scalar>::update(Model& model, const Gradients<Scalar>& gradients, double rate, double factor,
                          Threads* threads) {
  const ParameterList<Scalar> hidden = parameters(model, true);
  ParameterList<Scalar> others = parameters(model, false);
  detail::check_rate("Muon", updates() + 1, rate, factor);
  check(momentum_.empty() || momentum_.size() == hidden.parameters.size(), "Muon: the model has ",
        hidden.parameters.size(), " hidden matrices, expected ", momentum_.size(), " as before");
  for (std::size_t i = 0; i < hidden.parameters.size(); ++i) {
    const auto& [name, x] = hidden.parameters[i];
    const auto [keep, step] = factors_of(x->value, rate);
    check(detail::is_finite(keep) && detail::is_finite(step), "Muon: the rate of update ", updates() + 1, " is ", rate,
          ", which is too large: the step of ", name, " is not finite");
    if (!momentum_.empty()) check_shape("Muon", name.c_str(), shape(x->value), shape(momentum_[i].value));
    if (const Matrix<Scalar>* gradient = gradients.find(*x))
      detail::check_squares({"Muon", name, updates() + 1}, *gradient, factor, threads);
  }
  adam_.update(others, gradients, rate, factor, threads);
  if (momentum_.empty())
    for (const auto& [name, x] : hidden.parameters) momentum_.emplace_back(x->value.rows(), x->value.cols());
  for (std::size_t i = 0; i < hidden.parameters.size(); ++i) {
    Parameter<Scalar>& x = *hidden.parameters[i].second;
    if (const Matrix<Scalar>* gradient = gradients.find(x))
      update_matrix(x.value, momentum_[i].value, *gradient, rate, factor, threads);
  }
}

template <class Scalar>
std::array<Scalar, 2> Muon<Scalar>::factors_of(const Matrix<Scalar>& x, double rate) const {
  const auto rows = static_cast<double>(x.rows()), cols = static_cast<double>(x.cols());
  // The entries of a semi-orthogonal matrix have the root mean square 1 / sqrt(max(rows, columns)).
  const double size = options_.rms > 0 ? options_.rms * std::sqrt(std::max<double>(rows, cols))
                                       : std::sqrt(std::max<double>(1, rows / cols));
  return {static_cast<Scalar>(1 - rate * options_.weight_decay), static_cast<Scalar>(rate * size)};
}

template <class Scalar>
void Muon<Scalar>::update_matrix(Matrix<Scalar>& x, Matrix<Scalar>& m, const Matrix<Scalar>& gradient, double rate,
                                 double factor, Threads* threads) const {
  const auto momentum = static_cast<Scalar>(options_.momentum), scale = static_cast<Scalar>(factor);
  m = momentum * m + scale * gradient;
  const Matrix<Scalar> direction = options_.nesterov ? Matrix<Scalar>(scale * gradient + momentum * m) : m;
  const auto [keep, step] = factors_of(x, rate);
  x = keep * x - step * newton_schulz<Scalar>(direction, options_.steps, threads);
}

template <class Scalar>
template <class Model>
void Muon<Scalar>::restore(const Model& model, Index updates) {
  momentum_.clear();
  if (updates > 0)
    for (const auto& [name, x] : parameters(model, true).parameters)
      momentum_.emplace_back(x->value.rows(), x->value.cols());
  adam_.restore(parameters(model, false), updates);
}

EIGENFORMER_TEMPLATE(class Muon);

}  // namespace eigenformer::inline EIGENFORMER_ABI
