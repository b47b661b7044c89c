// The cross entropy of one row of logits, and the checks before it.
#pragma once

#include <cmath>
#include <span>

#include "eigenformer/core/check.hpp"
#include "eigenformer/kernels/cross_entropy_options.hpp"
#include "eigenformer/kernels/softmax.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

/// The target of a row: the factors with which the negative log-probabilities of the classes enter the loss. A class's
/// factor is `each` times its weight. The label's factor is larger by of_label(label).
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

/// Returns the factor of each row's loss. Throws if labels or options do not fit the logits.
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
          ", the size of the vocabulary is ", logits.cols);
    counted += target.weight(labels[i]);
  }
  if (options.reduction == Reduction::sum) return 1;
  return counted == 0 ? 0 : 1 / counted;
}

/// Returns the loss of one row, and writes log_sum_exp. Logits are taken relative to the largest, so that large logits
/// cost the loss no precision.
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

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
