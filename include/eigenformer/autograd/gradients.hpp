// The gradients of a model's parameters, stored apart from the model.
#pragma once

#include <unordered_map>
#include <utility>

#include "eigenformer/autograd/parameter.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// Accumulates a gradient for each parameter. Parameters are identified by address, so the model must not move
/// meanwhile. Memory is reused from step to step.
template <class Scalar>
class Gradients {
 public:
  /// Returns the accumulated gradient, or null if nothing was added since the last `clear`.
  const Matrix<Scalar>* find(const Parameter<Scalar>& parameter) const {
    const auto entry = sums_.find(&parameter);
    return entry == sums_.end() || !entry->second.used ? nullptr : &entry->second.sum;
  }
  Matrix<Scalar>* find(const Parameter<Scalar>& parameter) {
    return const_cast<Matrix<Scalar>*>(std::as_const(*this).find(parameter));
  }

  /// Returns the accumulated gradient, or zeros if nothing was added since the last `clear`.
  Matrix<Scalar> operator[](const Parameter<Scalar>& parameter) const {
    const Matrix<Scalar>* sum = find(parameter);
    return sum != nullptr ? *sum : Matrix<Scalar>(Matrix<Scalar>::Zero(parameter.value.rows(), parameter.value.cols()));
  }

  void add(const Parameter<Scalar>& parameter, const ConstMatrixMap<Scalar>& gradient) {
    Entry& entry = sums_[&parameter];
    if (entry.used) {
      entry.sum += gradient;
    } else {
      entry.sum = gradient;
      entry.used = true;
    }
  }

  /// Resets all gradients to "none" for the next step.
  void clear() {
    for (auto& [parameter, entry] : sums_) entry.used = false;
  }

 private:
  struct Entry {
    Matrix<Scalar> sum;
    bool used = false;
  };
  std::unordered_map<const Parameter<Scalar>*, Entry> sums_;
};

}  // namespace eigenformer::inline EIGENFORMER_ABI
