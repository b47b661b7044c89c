// Gradients of attention's other inputs, besides queries, keys and values: the Variables of its score, and its sinks.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "eigenformer/autograd/tape.hpp"
#include "eigenformer/ops/variable_score.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

/// Collects gradients during one backward of attention, and adds them to the tape.
template <class Scalar>
class ScoreGradients {
 public:
  /// Allocates zeros for each Variable that requires a gradient. All arguments must outlive this object. heads: number
  /// of query heads.
  ScoreGradients(Tape<Scalar>& tape, const std::vector<ScoreInput<Scalar>>& inputs, const Variable<Scalar>& sinks,
                 Index heads)
      : tape_(tape), inputs_(inputs), sinks_(sinks), d_sinks_(sinks.requires_grad() ? std::size_t(heads) : 0) {
    for (const auto& [variable, row_per_head] : inputs) {
      sums_.push_back(variable.requires_grad() ? tape.new_matrix(row_per_head ? heads : 1, variable.size())
                                               : Variable<Scalar>());
      sums_.back().writable().setZero();
      views_.push_back(variable.requires_grad() ? sums_.back().writable_tensor() : TensorView<Scalar>());
    }
  }

  /// Returns the views that VariableScore::score takes.
  std::span<const TensorView<Scalar>> views() const { return views_; }
  /// Returns the sums of the sinks' gradients, one per query head. Empty if the sinks require no gradient.
  std::span<double> d_sinks() { return d_sinks_; }

  /// Adds the gradients to the tape. Sums the heads' rows in order.
  void finish() {
    for (std::size_t i = 0; i < inputs_.size(); ++i) {
      const Variable<Scalar>& variable = inputs_[i].variable;
      tape_.add_gradient(variable, [&](MatrixMap<Scalar> d) {
        Eigen::Map<Matrix<Scalar>> row(d.data(), 1, d.size());
        row = sums_[i].value().row(0);
        for (Index head = 1; head < sums_[i].rows(); ++head) row += sums_[i].value().row(head);
      });
    }
    tape_.add_gradient(sinks_, [&](MatrixMap<Scalar> d) {
      for (Index head = 0; head < d.size(); ++head)
        d.data()[head] = static_cast<Scalar>(d_sinks_[static_cast<std::size_t>(head)]);
    });
  }

 private:
  Tape<Scalar>& tape_;
  const std::vector<ScoreInput<Scalar>>& inputs_;
  const Variable<Scalar>& sinks_;
  std::vector<double> d_sinks_;
  std::vector<Variable<Scalar>> sums_;  // [1 or heads x size of the variable]
  std::vector<TensorView<Scalar>> views_;
};

/// Returns the entries of a Variable as double, for AttentionOptions::sinks; null if it is empty.
template <class Scalar>
std::shared_ptr<const std::vector<double>> sink_numbers(const Variable<Scalar>& sinks) {
  if (sinks.size() == 0) return nullptr;
  const Scalar* const begin = sinks.value().data();
  return std::make_shared<const std::vector<double>>(begin, begin + sinks.size());
}

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
