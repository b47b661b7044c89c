// The gradients of a model's parameters, stored apart from the model.
#pragma once

#include <algorithm>
#include <unordered_map>
#include <utility>

#include "eigenformer/autograd/parameter.hpp"
#include "eigenformer/core/threads.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

namespace detail {

/// Writes to = a + b, or to = b if a is null. All have `count` entries; `to` may be a.
template <class Scalar>
void write_sum(Scalar* to, const Scalar* a, const Scalar* b, Index count, Threads* threads) {
  constexpr Index grain = 32768;
  using Entries = Eigen::Array<Scalar, 1, Eigen::Dynamic>;
  parallel_for(threads, count, grain, [&](Index begin, Index end) {
    Eigen::Map<Entries> sum(to + begin, end - begin);
    const Eigen::Map<const Entries> added(b + begin, end - begin);
    if (a == nullptr)
      sum = added;
    else
      sum = Eigen::Map<const Entries>(a + begin, end - begin) + added;
  });
}

}  // namespace detail

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

  /// Returns whether nothing was added since the last `clear`.
  bool empty() const {
    return std::none_of(sums_.begin(), sums_.end(), [](const auto& entry) { return entry.second.used; });
  }

  /// Adds a gradient of a parameter to its sum. gradient: in the shape of the parameter. The result does not depend on
  /// the number of threads. Throws if gradients of another shape were added to it since the last `clear`.
  void add(const Parameter<Scalar>& parameter, const ConstMatrixMap<Scalar>& gradient, Threads* threads = nullptr) {
    Entry& entry = sums_[&parameter];
    if (!entry.used) entry.sum.resize(gradient.rows(), gradient.cols());
    check(shape(gradient) == shape(entry.sum), "Gradients::add: the gradient is ", shape(gradient), ", expected ",
          shape(entry.sum), ", the shape of this parameter's gradients since the last clear()");
    Scalar* sum = entry.sum.data();
    detail::write_sum<Scalar>(sum, entry.used ? sum : nullptr, gradient.data(), gradient.size(), threads);
    entry.used = true;
  }

  /// Adds each gradient of `other` to this object's gradient of the same parameter. The result does not depend on the
  /// number of threads. Throws if their shapes differ.
  void add(const Gradients& other, Threads* threads = nullptr) {
    for (const auto& [parameter, entry] : other.sums_)
      if (entry.used)
        add(*parameter, ConstMatrixMap<Scalar>(entry.sum.data(), entry.sum.rows(), entry.sum.cols()), threads);
  }

  /// Returns memory for the gradient of a parameter, in the parameter's shape. The caller must write every entry.
  Matrix<Scalar>& writable(const Parameter<Scalar>& parameter) {
    Entry& entry = sums_[&parameter];
    entry.sum.resize(parameter.value.rows(), parameter.value.cols());
    entry.used = true;
    return entry.sum;
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
