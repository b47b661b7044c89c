// Softmax and cross entropy, fused: the loss of a classifier whose last layer gives logits.
#pragma once

#include <array>
#include <span>

#include "eigenformer/core/check.hpp"
#include "eigenformer/kernels/cross_entropy_options.hpp"
#include "eigenformer/kernels/detail/rows/cross_entropy_row.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// Returns the mean or sum over rows of
///   log_sum_exp - (1 - label_smoothing) logits[label] - label_smoothing mean(logits).
/// This is the cross entropy of softmax(logits) with the smoothed labels (Szegedy et al. 2016, section 7). Class
/// weights multiply the log-probability of each class, as in torch.nn.functional.cross_entropy.
/// logits: [tokens x vocabulary_size]; log_sum_exp: [tokens x 1], saved for the backward, 0 for ignored rows.
///
/// Two results differ from PyTorch's. If all labels are ignored, or their classes have weight 0, the mean is 0, not
/// NaN. If all logits of a row are -inf, its loss is inf. Throws if shapes or options do not fit, or if a label is
/// neither in the vocabulary nor ignore_index.
template <class Scalar>
Scalar cross_entropy_forward(const ConstMatrixRef<Scalar>& logits, std::span<const Token> labels,
                             const CrossEntropyOptions& options, MatrixRef<Scalar> log_sum_exp,
                             Threads* threads = nullptr) {
  const double scale = detail::check_cross_entropy(shape(logits), labels, options);
  check_shape("cross_entropy", "log_sum_exp", shape(log_sum_exp), {logits.rows(), 1});
  const detail::CrossEntropyTarget target(logits.cols(), options);
  constexpr Index max_blocks = 64;  // blocks of rows, each with its own sum
  std::array<detail::Sum<Scalar>, max_blocks> sums{};
  const Index grain =
      std::max<Index>(detail::rows_per_task(logits.cols()), (logits.rows() + max_blocks - 1) / max_blocks);
  parallel_for(threads, logits.rows(), grain, [&](Index begin, Index end) {
    detail::Sum<Scalar> sum = 0;
    for (Index i = begin; i < end; ++i) {
      const Token label = labels[static_cast<std::size_t>(i)];
      log_sum_exp(i, 0) = 0;
      if (label != options.ignore_index)
        sum += detail::cross_entropy_row(detail::row_begin(logits, i), logits.cols(), label, target, log_sum_exp(i, 0));
    }
    sums[static_cast<std::size_t>(begin / grain)] = sum;
  });
  detail::Sum<Scalar> total = 0;
  for (const detail::Sum<Scalar> sum : sums) total += sum;
  return static_cast<Scalar>(total * scale);
}

/// The inputs of the backward of cross entropy: the logits, and the forward's output log_sum_exp.
template <class Scalar>
struct CrossEntropySaved {
  ConstMatrixRef<Scalar> logits;       // [tokens x vocabulary_size]
  ConstMatrixRef<Scalar> log_sum_exp;  // [tokens x 1]
};

/// Writes d_logits = d_loss scale (sum(target) softmax(logits) - target), and 0 for ignored rows, where
/// - target = class_weights * ((1 - label_smoothing) onehot(label) + label_smoothing / vocabulary_size)
/// - scale = 1 for a sum, and 1 / (sum of the weights of the labels that are not ignored) for a mean
///
/// d_loss: the gradient of the forward's result. d_logits: [tokens x vocabulary_size]; may be the logits themselves,
/// which are often the largest matrix of a model. Throws if shapes, labels or options do not fit.
///
/// Computes the softmax as exp(logits - log_sum_exp), with a relative error of about |log_sum_exp| epsilon.
template <class Scalar>
void cross_entropy_backward(const CrossEntropySaved<Scalar>& saved, std::span<const Token> labels,
                            const CrossEntropyOptions& options, Scalar d_loss, MatrixRef<Scalar> d_logits,
                            Threads* threads = nullptr) {
  const Index rows = saved.logits.rows(), vocabulary_size = saved.logits.cols();
  const double scale = detail::check_cross_entropy({rows, vocabulary_size}, labels, options);
  check_shape("cross_entropy", "log_sum_exp", shape(saved.log_sum_exp), {rows, 1});
  check_shape("cross_entropy", "d_logits", shape(d_logits), {rows, vocabulary_size});
  const auto factor = static_cast<Scalar>(static_cast<detail::Sum<Scalar>>(d_loss) * scale);
  const detail::CrossEntropyTarget target(vocabulary_size, options);
  detail::for_each_row(threads, rows, vocabulary_size, [&](Index i) {
    const Token label = labels[static_cast<std::size_t>(i)];
    const Scalar* row = detail::row_begin(saved.logits, i);
    Scalar* d_row = detail::row_begin(d_logits, i);
    if (label == options.ignore_index) {
      std::fill(d_row, d_row + vocabulary_size, Scalar(0));
      return;
    }
    const Scalar log_sum_exp = saved.log_sum_exp(i, 0);
    const Scalar lse = detail::is_minus_infinity(log_sum_exp) ? Scalar(0) : log_sum_exp;
    const auto total = static_cast<Scalar>(target.total(label));
    const auto each = static_cast<Scalar>(target.weights.empty() ? target.each : 0);
    detail::for_each_piece<Scalar>(vocabulary_size, [&](Index j, auto count) {
      const auto p = detail::exp_or_zero<Scalar>(detail::load(row + j, count) - lse);
      detail::store<Scalar>(d_row + j, count, factor * (total * p - each));
    });
    if (target.each > 0)
      for (std::size_t j = 0; j < target.weights.size(); ++j)
        d_row[j] -= factor * static_cast<Scalar>(target.each * target.weights[j]);
    d_row[label] -= factor * static_cast<Scalar>(target.of_label(label));
  });
}

/// Returns the mean or sum of the cross entropies of all rows. logits: [tokens x vocabulary_size], any Eigen matrix or
/// expression. Throws if labels or options do not fit.
template <class Derived>
typename Derived::Scalar cross_entropy(const Eigen::MatrixBase<Derived>& logits, std::span<const Token> labels,
                                       const CrossEntropyOptions& options = {}, Threads* threads = nullptr) {
  using Scalar = typename Derived::Scalar;
  Matrix<Scalar> log_sum_exp(logits.rows(), 1);
  return cross_entropy_forward<Scalar>(logits.derived(), labels, options, log_sum_exp, threads);
}

/// Returns the cross entropy of each row, [tokens x 1]; 0 if its label is ignored. Ignores options.reduction. logits:
/// [tokens x vocabulary_size], any Eigen matrix or expression. Throws if labels or options do not fit.
template <class Derived>
Matrix<typename Derived::Scalar> cross_entropy_rows(const Eigen::MatrixBase<Derived>& logits,
                                                    std::span<const Token> labels,
                                                    const CrossEntropyOptions& options = {},
                                                    Threads* threads = nullptr) {
  using Scalar = typename Derived::Scalar;
  detail::check_cross_entropy(shape(logits), labels, options);
  const ConstMatrixRef<Scalar> rows = logits.derived();
  const detail::CrossEntropyTarget target(rows.cols(), options);
  Matrix<Scalar> losses = Matrix<Scalar>::Zero(rows.rows(), 1);
  detail::for_each_row(threads, rows.rows(), rows.cols(), [&](Index i) {
    const Token label = labels[static_cast<std::size_t>(i)];
    if (label == options.ignore_index) return;
    Scalar log_sum_exp = 0;
    losses(i, 0) = static_cast<Scalar>(
        detail::cross_entropy_row(detail::row_begin(rows, i), rows.cols(), label, target, log_sum_exp));
  });
  return losses;
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
