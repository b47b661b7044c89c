// The optimisers Adam and AdamW.
#pragma once

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <string>
#include <type_traits>
#include <vector>

#include "eigenformer/autograd/gradients.hpp"
#include "eigenformer/autograd/parameter.hpp"
#include "eigenformer/core/detail/compiled.hpp"
#include "eigenformer/core/threads.hpp"
#include "eigenformer/train/clip.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

namespace detail {

/// Returns whether the squares of factor * gradient are all finite. Looks at all entries of a row before it decides, so
/// that the compiler can vectorise.
template <class Scalar>
bool has_finite_squares(const Matrix<Scalar>& gradient, Scalar factor, Threads* threads) {
  using Bits = decltype(bits_of(factor));
  const Bits infinite = bits_of(std::numeric_limits<Scalar>::infinity());
  std::atomic<bool> finite{true};
  for_each_gradient_row(gradient, threads, [&](Index row) {
    const Scalar* g = gradient.data() + row * gradient.cols();
    Bits largest = 0;  // without the sign bit, floats are ordered as their bits are; NaN is above infinity
    for (Index i = 0; i < gradient.cols(); ++i) {
      const Scalar scaled = factor * g[i];
      largest = std::max<Bits>(largest, bits_of(scaled * scaled) << 1 >> 1);
    }
    if (largest >= infinite) finite.store(false, std::memory_order_relaxed);
  });
  return finite.load();
}

/// Names a gradient in messages, such as "Adam: the gradient of encoder.weight in update 2 is not finite".
struct NamedGradient {
  const char* optimizer;
  const std::string& parameter;
  Index update;
};

/// Throws unless the learning rate of this update is finite and at least 0, and the gradients' factor is finite.
inline void check_rate(const char* optimizer, Index update, double rate, double factor) {
  check(rate >= 0 && is_finite(rate), optimizer, ": the rate of update ", update, " is ", rate,
        ", expected a finite number of 0 or more");
  check(is_finite(factor), optimizer, ": the gradients' factor of update ", update, " is ", factor,
        ", expected a finite number");
}

/// Throws unless the squares of factor * gradient are all finite.
template <class Scalar>
void check_squares(const NamedGradient& of, const Matrix<Scalar>& gradient, double factor, Threads* threads) {
  if (!has_finite_squares(gradient, static_cast<Scalar>(factor), threads))
    fail(of.optimizer, ": the gradient of ", of.parameter, " in update ", of.update, " is ",
         is_finite(gradient.array()) ? "too large to be squared" : "not finite");
}

}  // namespace detail

/// Options of Adam. The defaults are those of Vaswani et al. 2017, section 5.3; torch.optim.Adam uses beta2 = 0.999 and
/// epsilon = 1e-8.
struct AdamOptions {
  double beta1 = 0.9;
  double beta2 = 0.98;
  double epsilon = 1e-9;
  double weight_decay = 0;      // see class Adam
  bool decoupled = false;       // true: AdamW
  bool bias_correction = true;  // false: moments are used without correction for their start at zero, as in BERT
};

/// Updates parameters by Adam (Kingma and Ba 2015, arXiv 1412.6980, algorithm 1). With g the gradient and t the number
/// of updates:
///
///   m = beta1 m + (1 - beta1) g,   v = beta2 v + (1 - beta2) g^2
///   x = x - rate * (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + epsilon)
///
/// The options change this:
///
///   weight_decay      adds weight_decay * x to g
///   decoupled         multiplies x by 1 - rate * weight_decay instead (AdamW: Loshchilov and Hutter 2019,
///                     arXiv 1711.05101)
///   bias_correction   if false, m and v are used without their divisors
///
/// Moments are matched to parameters by order, not by address, so the model may move.
template <class Scalar>
class Adam {
 public:
  using scalar_type = Scalar;

  Adam() = default;
  /// Throws unless beta1 and beta2 are in [0, 1), epsilon is above 0, weight_decay is 0 or more, and all are finite.
  /// All of this must hold for the numbers rounded to Scalar too.
  explicit Adam(const AdamOptions& options) : options_(options) {
    const auto check_share = [](const char* name, double beta) {
      check(beta >= 0 && static_cast<Scalar>(beta) < 1, "Adam: ", name, " is ", beta,
            ", expected at least 0 and below 1 (as ", std::is_same_v<Scalar, float> ? "float" : "double", ")");
    };
    check_share("beta1", options.beta1);
    check_share("beta2", options.beta2);
    check(static_cast<Scalar>(options.epsilon) > 0 && detail::is_finite(static_cast<Scalar>(options.epsilon)),
          "Adam: epsilon is ", options.epsilon, ", expected a finite number above 0");
    check(options.weight_decay >= 0 && detail::is_finite(static_cast<Scalar>(options.weight_decay)),
          "Adam: weight_decay is ", options.weight_decay, ", expected a finite number of 0 or more");
  }

  const AdamOptions& options() const { return options_; }
  Index updates() const { return updates_; }

  /// Updates all parameters of the model that have a gradient. `gradients` are multiplied by `factor`. Throws, and
  /// changes nothing, if
  ///
  /// - the parameters differ in number or shape from those of the previous update,
  /// - the rate is negative, the rate or the factor is not finite, or they are so large that the update is not, or
  /// - a gradient, or its square, is not finite.
  template <class Model>
  void update(Model& model, const Gradients<Scalar>& gradients, double rate, double factor = 1,
              Threads* threads = nullptr);

  /// Visits the moments by name, so that they can be saved and loaded like a model's parameters.
  static void visit(auto& self, auto&& visitor) {
    visitor("first_moment", self.first_moment_);
    visitor("second_moment", self.second_moment_);
  }
  /// Prepares loading: allocates the moments of `model` and sets the number of updates so far.
  template <class Model>
  void restore(const Model& model, Index updates) {
    first_moment_.clear();
    second_moment_.clear();
    for_each_parameter(model, [&](const std::string&, const Parameter<Scalar>& x) { add_moments(x); });
    updates_ = updates;
  }

 private:
  /// Factors of one update, equal for all parameters.
  struct UpdateFactors {
    Scalar gradient_factor, decay, keep, step, root_factor;
  };

  void add_moments(const Parameter<Scalar>& x) {
    first_moment_.emplace_back(x.value.rows(), x.value.cols());
    second_moment_.emplace_back(x.value.rows(), x.value.cols());
  }
  template <class Model>
  void check_update(const Model& model, const Gradients<Scalar>& gradients, double rate, double factor,
                    Threads* threads) const;
  /// Returns the factors of the next update. Changes nothing.
  UpdateFactors next_factors(double rate, double factor) const;
  void update_parameter(Parameter<Scalar>& x, std::size_t i, const Gradients<Scalar>& gradients,
                        const UpdateFactors& by, Threads* threads);

  AdamOptions options_;
  Index updates_ = 0;
  std::vector<Parameter<Scalar>> first_moment_;
  std::vector<Parameter<Scalar>> second_moment_;
};

template <class Scalar>
template <class Model>
void Adam<Scalar>::update(Model& model, const Gradients<Scalar>& gradients, double rate, double factor,
                          Threads* threads) {
  check_update(model, gradients, rate, factor, threads);
  const UpdateFactors by = next_factors(rate, factor);
  ++updates_;
  std::size_t i = 0;
  for_each_parameter(model, [&](const std::string&, Parameter<Scalar>& x) {
    update_parameter(x, i, gradients, by, threads);
    ++i;
  });
}

template <class Scalar>
template <class Model>
void Adam<Scalar>::check_update(const Model& model, const Gradients<Scalar>& gradients, double rate, double factor,
                                Threads* threads) const {
  const UpdateFactors by = next_factors(rate, factor);
  detail::check_rate("Adam", updates_ + 1, rate, factor);
  check(detail::is_finite(by.step) && detail::is_finite(by.keep) && detail::is_finite(by.gradient_factor),
        "Adam: the rate of update ", updates_ + 1, " is ", rate, ", the gradients' factor is ", factor,
        ", which is too large: the step is not finite");
  std::size_t count = 0;
  for_each_parameter(model, [&](const std::string& name, const Parameter<Scalar>& x) {
    const std::size_t i = count++;
    if (i < first_moment_.size()) {
      const Shape of_moments = shape(first_moment_[i].value);
      check(of_moments == shape(x.value), "Adam: parameter ", name, " is ", shape(x.value), ", its moments are ",
            of_moments);
    }
    if (const Matrix<Scalar>* gradient = gradients.find(x))
      detail::check_squares({"Adam", name, updates_ + 1}, *gradient, factor, threads);
  });
  check(first_moment_.empty() || count == first_moment_.size(), "Adam: the model has ", count, " parameters, expected ",
        first_moment_.size(), " as before");
}

template <class Scalar>
typename Adam<Scalar>::UpdateFactors Adam<Scalar>::next_factors(double rate, double factor) const {
  const double t = static_cast<double>(updates_ + 1);
  const auto correction = [&](double beta) { return options_.bias_correction ? 1 - std::pow(beta, t) : 1; };
  UpdateFactors by;
  by.gradient_factor = static_cast<Scalar>(factor);
  by.decay = static_cast<Scalar>(options_.decoupled ? 0 : options_.weight_decay);
  by.keep = static_cast<Scalar>(options_.decoupled ? 1 - rate * options_.weight_decay : 1);
  by.step = static_cast<Scalar>(rate / correction(options_.beta1));
  by.root_factor = static_cast<Scalar>(1 / std::sqrt(correction(options_.beta2)));
  return by;
}

template <class Scalar>
void Adam<Scalar>::update_parameter(Parameter<Scalar>& x, std::size_t i, const Gradients<Scalar>& gradients,
                                    const UpdateFactors& by, Threads* threads) {
  if (i == first_moment_.size()) add_moments(x);
  Matrix<Scalar>& m = first_moment_[i].value;
  Matrix<Scalar>& v = second_moment_[i].value;
  const Matrix<Scalar>* gradient = gradients.find(x);
  if (gradient == nullptr) return;
  const auto beta1 = static_cast<Scalar>(options_.beta1), beta2 = static_cast<Scalar>(options_.beta2);
  const auto epsilon = static_cast<Scalar>(options_.epsilon);
  parallel_for(threads, x.value.rows(), std::max<Index>(1, 8192 / x.value.cols()), [&](Index begin, Index end) {
    // Works row by row, so that m, v and x are updated in one pass over memory.
    for (Index r = begin; r < end; ++r) {
      auto x_row = x.value.row(r).array();
      auto m_row = m.row(r).array();
      auto v_row = v.row(r).array();
      const auto g = by.gradient_factor * gradient->row(r).array() + by.decay * x_row;
      m_row = beta1 * m_row + (1 - beta1) * g;
      v_row = beta2 * v_row + (1 - beta2) * g.square();
      x_row = by.keep * x_row - by.step * m_row / (v_row.sqrt() * by.root_factor + epsilon);
    }
  });
}

EIGENFORMER_TEMPLATE(class Adam);

}  // namespace eigenformer::inline EIGENFORMER_ABI
