// Cross entropy of tensors of logits, with its derivative. It runs the kernels of kernels/cross_entropy.hpp.
//
//   float loss = cross_entropy(logits, labels);                   // logits: [batch x tokens x classes]
//   float loss = cross_entropy(logits, labels, {}, 1);            // logits: [batch x classes x tokens], as in PyTorch
#pragma once

#include <utility>
#include <vector>

#include "eigenformer/kernels/cross_entropy.hpp"
#include "eigenformer/tensors/detail/row_views.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// What cross_entropy_forward returns. The backward needs it.
template <class Scalar>
struct CrossEntropyResult {
  Scalar loss;
  Tensor<Scalar> log_sum_exp;  // the shape of the labels; 0 for ignored ones
  int dimension;               // of the classes
};

namespace detail {

/// Returns the labels in the order of rows. Throws unless they have the shape of the logits without the classes.
template <class Labels>
std::vector<Token> labels_of_rows(const Labels& labels, const Sizes& logits, int dimension) {
  using Label = ScalarOf<Labels>;
  static_assert(is_index<Label>, "labels are the numbers of classes: Tensor<Token> or Tensor<Index>");
  Sizes expected = logits;
  expected.erase(dimension);
  const Evaluated evaluated(labels);
  check(evaluated.view().shape() == expected, "cross_entropy: logits is ", logits, " with classes in dimension ",
        dimension, ", labels is ", evaluated.view().shape(), ", expected ", expected);
  const Tensor<Label> in_order(evaluated.view());
  std::vector<Token> numbers;
  numbers.reserve(static_cast<std::size_t>(in_order.size()));
  for (Index i = 0; i < in_order.size(); ++i) {
    const Label label = in_order.data()[i];
    check(std::in_range<Token>(label), "cross_entropy: label ", i, " is ", label, ", expected the number of a class");
    numbers.push_back(static_cast<Token>(label));
  }
  return numbers;
}

/// Logits as a matrix with a row of classes for each label.
struct ClassRows {
  int dimension;  // of the classes
  RowShape shape;
  std::vector<Token> labels;

  /// class_dimension: the dimension of the classes, negative from the end. Throws if the logits do not have it, or if
  /// the labels do not fit the other dimensions.
  template <class Logits, class Labels>
  ClassRows(const Logits& logits, const Labels& of_rows, Index class_dimension)
      : dimension(dimension_number("cross_entropy", class_dimension, shape_of(logits).rank())),
        shape("cross_entropy", shape_of(logits), dimension),
        labels(labels_of_rows(of_rows, shape_of(logits), dimension)) {}
};

}  // namespace detail

/// Returns the mean or sum of the cross entropies of all labels, and what the backward needs. logits: a tensor, a view
/// or an expression with the classes in the given dimension. labels: whole numbers of any type; the shape of logits
/// without that dimension. options: see kernels/cross_entropy.hpp. Throws if shapes, labels or options do not fit.
template <TensorLike Logits, TensorLike Labels>
CrossEntropyResult<ComputeType<ScalarOf<Logits>>> cross_entropy_forward(const Logits& logits, const Labels& labels,
                                                                        const CrossEntropyOptions& options = {},
                                                                        Index dimension = -1,
                                                                        Threads* threads = nullptr) {
  using Compute = ComputeType<ScalarOf<Logits>>;
  const detail::ClassRows classes(logits, labels, dimension);
  const detail::RowOperand<const Logits&> rows(logits, classes.shape);
  CrossEntropyResult<Compute> result{0, Tensor<Compute>::uninitialized(detail::shape_of(labels)), classes.dimension};
  MatrixMap<Compute> log_sum_exp(result.log_sum_exp.data(), classes.shape.rows, 1);
  result.loss = cross_entropy_forward<Compute>(rows.matrix(), classes.labels, options, log_sum_exp, threads);
  return result;
}

/// Returns the mean or sum of the cross entropies of all labels: see cross_entropy_forward.
/// torch.nn.functional.cross_entropy takes classes from dimension 1; here, the last dimension is the default.
template <TensorLike Logits, TensorLike Labels>
ComputeType<ScalarOf<Logits>> cross_entropy(const Logits& logits, const Labels& labels,
                                            const CrossEntropyOptions& options = {}, Index dimension = -1,
                                            Threads* threads = nullptr) {
  return cross_entropy_forward(logits, labels, options, dimension, threads).loss;
}

/// Returns the cross entropy of each label: the shape of labels; 0 where a label is ignored. Ignores options.reduction.
/// Takes what cross_entropy_forward takes.
template <TensorLike Logits, TensorLike Labels>
Tensor<ComputeType<ScalarOf<Logits>>> cross_entropy_rows(const Logits& logits, const Labels& labels,
                                                         const CrossEntropyOptions& options = {}, Index dimension = -1,
                                                         Threads* threads = nullptr) {
  using Compute = ComputeType<ScalarOf<Logits>>;
  const detail::ClassRows classes(logits, labels, dimension);
  const detail::RowOperand<const Logits&> rows(logits, classes.shape);
  const Matrix<Compute> losses = cross_entropy_rows(rows.matrix(), classes.labels, options, threads);
  const std::span<const Compute> values(losses.data(), static_cast<std::size_t>(losses.size()));
  return Tensor<Compute>(detail::shape_of(labels), values);
}

/// Returns the gradient of cross_entropy_forward with respect to the logits, in their shape. d_loss: the gradient of
/// the loss. If logits is a temporary tensor, reuses its memory. Throws if shapes, labels or options do not fit.
template <TensorLike Logits, TensorLike Labels>
Tensor<ScalarOf<Logits>> cross_entropy_backward(Logits&& logits, const Labels& labels,
                                                const CrossEntropyResult<ComputeType<ScalarOf<Logits>>>& result,
                                                ComputeType<ScalarOf<Logits>> d_loss,
                                                const CrossEntropyOptions& options = {}, Threads* threads = nullptr) {
  using Compute = ComputeType<ScalarOf<Logits>>;
  const detail::ClassRows classes(logits, labels, result.dimension);
  detail::check_same_shape("cross_entropy", "log_sum_exp", result.log_sum_exp.shape(), detail::shape_of(labels));
  const ConstMatrixMap<Compute> log_sum_exp(result.log_sum_exp.data(), classes.shape.rows, 1);
  return detail::map_rows(std::forward<Logits>(logits), classes.shape, [&](const auto& from, const auto& to) {
    cross_entropy_backward<Compute>({from, log_sum_exp}, classes.labels, options, d_loss, to, threads);
  });
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
