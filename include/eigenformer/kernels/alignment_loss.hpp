// The loss of guided alignment: it trains attention weights to follow given alignments.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>

#include "eigenformer/core/check.hpp"
#include "eigenformer/core/types.hpp"
#include "eigenformer/text/alignment_label.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

namespace detail {

inline void check_alignment_labels(const Shape& weights, std::span<const AlignmentLabel> labels) {
  for (const AlignmentLabel& label : labels) {
    check(label.row >= 0 && label.row < weights.rows && label.key >= 0 && label.key < weights.cols,
          "alignment_loss: a label is at row ", label.row, ", key ", label.key, ", the weights are ", weights);
    check(std::isfinite(label.weight), "alignment_loss: the label at row ", label.row, ", key ", label.key,
          " has a weight that is not finite");
  }
}

/// The smallest weight that the loss tells from 0: about 1e-31 for float. Dividing d_loss by it does not overflow.
template <class Scalar>
constexpr Scalar smallest_alignment_weight =
    (std::numeric_limits<Scalar>::min)() / std::numeric_limits<Scalar>::epsilon();

}  // namespace detail

/// Returns the cross entropy between given alignments G and attention weights A, summed over the rows:
///
///   - sum_i sum_j G_ij log A_ij
///
/// This is the alignment loss of Garg et al. 2019 ("Jointly Learning to Align and Translate with Transformer Models",
/// arXiv 1909.02074, section 4.2) without its factor 1 / rows. Chen et al. 2016 (arXiv 1607.01628) use it for recurrent
/// models. Rows without labels add nothing. Weights below about 1e-31 (float; 1e-292 for double) count as that number,
/// so the loss is finite.
///
/// weights: A, [queries x keys], the weights of one attention head. labels: the entries of G that are not 0. Throws if
/// a label is outside the weights or not finite.
template <class Scalar>
Scalar alignment_loss_forward(const ConstMatrixRef<Scalar>& weights, std::span<const AlignmentLabel> labels) {
  detail::check_alignment_labels(shape(weights), labels);
  constexpr Scalar smallest = detail::smallest_alignment_weight<Scalar>;
  double sum = 0;
  for (const AlignmentLabel& label : labels)
    sum -= label.weight * std::log(static_cast<double>(std::max<Scalar>(weights(label.row, label.key), smallest)));
  return static_cast<Scalar>(sum);
}

/// Writes d_A = - d_loss G / A, and 0 where there is no label. Weights below about 1e-31 (float; 1e-292 for double)
/// count as that number, so a row that attends elsewhere still gets a gradient. weights, d_weights: [queries x keys].
/// Throws if a label is outside the weights or not finite, or if the shapes differ.
template <class Scalar>
void alignment_loss_backward(const ConstMatrixRef<Scalar>& weights, std::span<const AlignmentLabel> labels,
                             Scalar d_loss, MatrixRef<Scalar> d_weights) {
  detail::check_alignment_labels(shape(weights), labels);
  check_shape("alignment_loss", "d_weights", shape(d_weights), shape(weights));
  constexpr Scalar smallest = detail::smallest_alignment_weight<Scalar>;
  d_weights.setZero();
  for (const AlignmentLabel& label : labels)
    d_weights(label.row, label.key) -=
        d_loss * static_cast<Scalar>(label.weight) / std::max<Scalar>(weights(label.row, label.key), smallest);
}

/// Returns the cross entropy between alignments and attention weights: see alignment_loss_forward. weights: [queries x
/// keys], any Eigen matrix or expression.
template <class Derived>
typename Derived::Scalar alignment_loss(const Eigen::MatrixBase<Derived>& weights,
                                        std::span<const AlignmentLabel> labels) {
  return alignment_loss_forward<typename Derived::Scalar>(weights.derived(), labels);
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
