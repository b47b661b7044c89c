// Averages of parameters: over several models, and over the updates of a run.
#pragma once

#include <algorithm>
#include <span>
#include <string>
#include <vector>

#include "eigenformer/autograd/parameter.hpp"
#include "eigenformer/core/threads.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// The mean of the parameters of several models of one shape. Models are added one by one, so they need not be in
/// memory together. Sums in double.
class ParameterMean {
 public:
  /// Adds a model. Throws, and adds nothing, if its parameters differ in number or shape from those before.
  template <class Model>
  void add(const Model& model) {
    check_model(model);
    if (count_++ == 0)
      for_each_parameter(model, [&](const std::string&, const auto& x) {
        sums_.push_back(Matrix<double>::Zero(x.value.rows(), x.value.cols()));
      });
    std::size_t i = 0;
    for_each_parameter(model,
                       [&](const std::string&, const auto& x) { sums_[i++] += x.value.template cast<double>(); });
  }

  /// Replaces the parameters of a model by the mean. Throws, and changes nothing, if no model was added or the
  /// parameters do not fit.
  template <class Model>
  void copy_to(Model& model) const {
    check(count_ > 0, "ParameterMean: there is no model, expected one or more");
    check_model(model);
    std::size_t i = 0;
    for_each_parameter(model, [&](const std::string&, auto& x) {
      using Scalar = typename std::remove_cvref_t<decltype(x.value)>::Scalar;
      x.value = (sums_[i++] / static_cast<double>(count_)).template cast<Scalar>();
    });
  }

 private:
  template <class Model>
  void check_model(const Model& model) const {
    if (count_ == 0) return;
    std::size_t count = 0;
    for_each_parameter(model, [&](const std::string& name, const auto& x) {
      const std::size_t i = count++;
      if (i < sums_.size())
        check(shape(x.value) == shape(sums_[i]), "ParameterMean: parameter ", name, " is ", shape(x.value),
              ", expected ", shape(sums_[i]), " as in the models before");
    });
    check(count == sums_.size(), "ParameterMean: the model has ", count, " parameters, expected ", sums_.size(),
          " as in the models before");
  }

  std::vector<Matrix<double>> sums_;
  Index count_ = 0;
};

/// Returns a model with the mean of the parameters of all models. The average of a run's last checkpoints often
/// translates better than the last one (Vaswani et al. 2017, section 6.1). Throws if there are no models, or if their
/// parameters differ in number or shape.
template <class Model>
Model average(std::span<const Model> models) {
  check(!models.empty(), "average: there are no models, expected one or more");
  ParameterMean mean;
  for (const Model& model : models) mean.add(model);
  Model result = models.front();
  mean.copy_to(result);
  return result;
}

/// An exponential moving average of the parameters over the updates of a run (averaging: Polyak and Juditsky 1992):
///
///   average = d * average + (1 - d) * parameters,   d = min(decay, (1 + t) / (10 + t))   after update t
///
/// d is smaller at the beginning, so that the average soon forgets the first parameters.
template <class Scalar>
class ExponentialAverage {
 public:
  /// Throws unless the decay is in [0, 1), also as a Scalar.
  explicit ExponentialAverage(double decay = 0.999) : decay_(decay) {
    check(decay >= 0 && static_cast<Scalar>(decay) < 1, "ExponentialAverage: decay is ", decay,
          ", expected 0 or more and less than 1");
  }

  bool empty() const { return average_.empty(); }

  /// Adds the parameters after update number `update`, counted from 1. The first call copies them. Throws, and adds
  /// nothing, if `update` is below 1, or if the parameters differ in number or shape from those added before.
  template <class Model>
  void add(const Model& model, Index update, Threads* threads = nullptr) {
    check(update >= 1, "ExponentialAverage: update is ", update, ", expected 1 or more");
    if (average_.empty()) {
      for_each_parameter(model,
                         [&](const std::string&, const Parameter<Scalar>& x) { average_.emplace_back(x.value); });
      return;
    }
    check_model(model);
    const auto t = static_cast<double>(update);
    const auto d = static_cast<Scalar>(std::min<double>(decay_, (1 + t) / (10 + t)));
    std::size_t i = 0;
    for_each_parameter(model, [&](const std::string&, const Parameter<Scalar>& x) {
      Matrix<Scalar>& average = average_[i++].value;
      parallel_for(threads, x.value.rows(), std::max<Index>(1, 32768 / x.value.cols()), [&](Index begin, Index end) {
        auto rows = average.middleRows(begin, end - begin);
        rows += (1 - d) * (x.value.middleRows(begin, end - begin) - rows);
      });
    });
  }

  /// Replaces the parameters of a model by the average. Throws, and changes nothing, if nothing was added or the
  /// parameters do not fit.
  template <class Model>
  void copy_to(Model& model) const {
    check(!average_.empty(), "ExponentialAverage: nothing was added, expected one or more models");
    check_model(model);
    std::size_t count = 0;
    for_each_parameter(model, [&](const std::string&, Parameter<Scalar>& x) { x.value = average_[count++].value; });
  }

  /// Visits the average, so that it can be saved and loaded like a model's parameters.
  static void visit(auto& self, auto&& visitor) { visitor("average", self.average_); }
  /// Prepares loading: allocates the average of `model`.
  template <class Model>
  void restore(const Model& model) {
    average_.clear();
    for_each_parameter(model, [&](const std::string&, const Parameter<Scalar>& x) { average_.emplace_back(x.value); });
  }

 private:
  /// Throws unless the model has as many parameters as the average, of equal shapes.
  template <class Model>
  void check_model(const Model& model) const {
    std::size_t count = 0;
    for_each_parameter(model, [&](const std::string& name, const Parameter<Scalar>& x) {
      const std::size_t i = count++;
      if (i < average_.size())
        check(shape(x.value) == shape(average_[i].value), "ExponentialAverage: parameter ", name, " is ",
              shape(x.value), ", expected ", shape(average_[i].value), " as in the average");
    });
    check(count == average_.size(), "ExponentialAverage: the model has ", count, " parameters, expected ",
          average_.size(), " as in the average");
  }

  double decay_;
  std::vector<Parameter<Scalar>> average_;
};

}  // namespace eigenformer::inline EIGENFORMER_ABI
