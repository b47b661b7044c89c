// Softmax and cross entropy in one: the loss of a classifier whose last layer gives logits.
#pragma once

#include <array>
#include <cmath>
#include <span>

#include "eigenformer/core/check.hpp"
#include "eigenformer/kernels/softmax.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// What the tokens' losses are made into: their sum, or their mean over the labels that are not ignored, each counted
/// by its class's weight.
enum class Reduction { mean, sum };

struct CrossEntropyOptions {
  double label_smoothing = 0;  // this share of the target is spread over all classes alike, the label's included
  Token ignore_index = -100;   // rows with this label count for nothing
  Reduction reduction = Reduction::mean;
  std::span<const double> class_weights{};  // what each class counts; by default 1. Must outlive the backward
};

namespace detail {

/// What a row's log-probabilities are multiplied by, given its label: `each` times its weight for every class, and
/// `of_label` more for the label.
class CrossEntropyTarget {
 public:
  CrossEntropyTarget(Index vocabulary_size, const CrossEntropyOptions& options)
      : weights(options.class_weights),
        each(options.label_smoothing / static_cast<double>(std::max<Index>(1, vocabulary_size))),
        smoothing_(options.label_smoothing) {
    for (const double weight : weights) of_all_ += each * weight;
  }

  double weight(Token label) const { return weights.empty() ? 1 : weights[static_cast<std::size_t>(label)]; }
  double of_label(Token label) const { return (1 - smoothing_) * weight(label); }
  double total(Token label) const { return weights.empty() ? 1 : of_label(label) + of_all_; }

  std::span<const double> weights;
  double each;

 private:
  double smoothing_;
  double of_all_ = 0;
};

/// What checking the labels finds: by how much each row's loss is multiplied.
inline double check_cross_entropy(Shape logits, std::span<const Token> labels, const CrossEntropyOptions& options) {
  check(options.label_smoothing >= 0 && options.label_smoothing <= 1, "cross_entropy: label_smoothing is ",
        options.label_smoothing, ", expected 0 to 1");
  check(logits.rows == static_cast<Index>(labels.size()), "cross_entropy: logits is ", logits, ", labels has ",
        labels.size());
  check(options.class_weights.empty() || logits.cols == static_cast<Index>(options.class_weights.size()),
        "cross_entropy: logits is ", logits, ", class_weights has ", options.class_weights.size());
  const CrossEntropyTarget target(logits.cols, options);
  double counted = 0;
  for (std::size_t i = 0; i < labels.size(); ++i) {
    if (labels[i] == options.ignore_index) continue;
    check(labels[i] >= 0 && labels[i] < logits.cols, "cross_entropy: the label of row ", i, " is ", labels[i],
          ", the vocabulary's size ", logits.cols);
    counted += target.weight(labels[i]);
  }
  if (counted == 0) return 0;
  return options.reduction == Reduction::mean ? 1 / counted : 1;
}

/// The loss of one row. It is put together relative to the largest logit, so that large logits cost no digits.
template <class Scalar>
Sum<Scalar> cross_entropy_row(const Scalar* logits, Index vocabulary_size, Token label,
                              const CrossEntropyTarget& target, Scalar& log_sum_exp) {
  using Wide = Sum<Scalar>;
  const Scalar origin = softmax_origin(logits, vocabulary_size);
  const Wide log_sum = std::log(sum_of_exp(logits, vocabulary_size, origin));
  log_sum_exp = static_cast<Scalar>(static_cast<Wide>(origin) + log_sum);
  if (is_minus_infinity(log_sum)) return -log_sum;
  const Wide label_logit = static_cast<Wide>(logits[label]) - static_cast<Wide>(origin);
  const Wide loss = target.total(label) * log_sum - target.of_label(label) * label_logit;
  if (target.each == 0) return loss;
  Wide sum = 0;
  for (std::size_t j = 0; j < target.weights.size(); ++j)
    sum += target.weights[j] * (static_cast<Wide>(logits[j]) - static_cast<Wide>(origin));
  if (target.weights.empty())
    sum = row_sum<Scalar>(vocabulary_size, [&](Index j, auto count) -> RowPiece<Scalar> {
      return load(logits + j, count, origin) - origin;
    });
  return loss - target.each * sum;
}

}  // namespace detail

/// The mean or sum over rows of
///   log_sum_exp - (1 - label_smoothing) logits[label] - label_smoothing mean(logits),
/// the cross entropy of the softmax to the smoothed labels (Szegedy et al. 2016, section 7), where every class's
/// log-probability is multiplied by its weight; as in torch.nn.functional.cross_entropy.
/// logits: [tokens x vocabulary_size]; log_sum_exp: [tokens x 1], kept for the backward, 0 for ignored rows.
///
/// Departures from PyTorch: if all labels are ignored the mean is 0, not NaN; a row whose logits are all -inf has the
/// loss inf. Throws if a label is neither in the vocabulary nor the ignored one.
template <class Scalar>
Scalar cross_entropy_forward(const ConstMatrixRef<Scalar>& logits, std::span<const Token> labels,
                             const CrossEntropyOptions& options, MatrixRef<Scalar> log_sum_exp,
                             Threads* threads = nullptr) {
  const double scale = detail::check_cross_entropy(shape(logits), labels, options);
  check_shape("cross_entropy", "log_sum_exp", shape(log_sum_exp), {logits.rows(), 1});
  const detail::CrossEntropyTarget target(logits.cols(), options);
  constexpr Index max_blocks = 64;  // of rows, each with a sum of its own
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

/// What the backward of cross entropy reads again: the forward's logits and what it wrote.
template <class Scalar>
struct CrossEntropySaved {
  ConstMatrixRef<Scalar> logits;       // [tokens x vocabulary_size]
  ConstMatrixRef<Scalar> log_sum_exp;  // [tokens x 1]
};

/// Writes d_logits = d_loss scale (sum(target) softmax(logits) - target), and 0 for ignored rows. Here target is
/// class_weights * ((1 - label_smoothing) onehot(label) + label_smoothing / vocabulary_size); scale is 1 for a sum, and
/// 1 / (weights of the labels that are not ignored) for a mean.
/// d_loss: the gradient of the forward's result; d_logits: [tokens x vocabulary_size]. It may be the logits, the
/// largest matrix of many a model.
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

/// The mean or sum of the rows' cross entropies. logits: [tokens x vocabulary_size], any Eigen matrix or expression.
template <class Derived>
typename Derived::Scalar cross_entropy(const Eigen::MatrixBase<Derived>& logits, std::span<const Token> labels,
                                       const CrossEntropyOptions& options = {}, Threads* threads = nullptr) {
  using Scalar = typename Derived::Scalar;
  Matrix<Scalar> log_sum_exp(logits.rows(), 1);
  return cross_entropy_forward<Scalar>(logits.derived(), labels, options, log_sum_exp, threads);
}

/// Each row's cross entropy, 0 if its label is ignored: [tokens x 1]. options.reduction means nothing here.
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
