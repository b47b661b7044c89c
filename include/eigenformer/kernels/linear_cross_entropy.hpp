// The output layer and its cross entropy, fused for large vocabularies. They process the tokens in chunks, so that the
// logits [tokens x vocabulary size], often the largest matrix of a model, never exist as a whole.
#pragma once

#include "eigenformer/kernels/cross_entropy.hpp"
#include "eigenformer/kernels/matmul.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// The inputs of an output layer. Its logits are x weight^T + bias.
template <class Scalar>
struct LinearCrossEntropyInputs {
  ConstMatrixRef<Scalar> x;       // [tokens x width]
  ConstMatrixRef<Scalar> weight;  // [vocabulary_size x width]
  ConstMatrixRef<Scalar> bias;    // [1 x vocabulary_size], or empty for none
};

/// The inputs of the backward: the inputs of the forward, and its output log_sum_exp.
template <class Scalar>
struct LinearCrossEntropySaved {
  LinearCrossEntropyInputs<Scalar> in;
  ConstMatrixRef<Scalar> log_sum_exp;  // [tokens x 1]
};

/// The outputs of the backward.
template <class Scalar>
struct LinearCrossEntropyGradients {
  MatrixRef<Scalar> d_x;       // [tokens x width]
  MatrixRef<Scalar> d_weight;  // [vocabulary_size x width]
  MatrixRef<Scalar> d_bias;    // [1 x vocabulary_size], or empty if there is no bias
};

namespace detail {

/// Calls body(first token, tokens, logits [tokens x vocabulary size]) for each chunk of tokens in turn.
template <class Scalar, class Body>
void for_each_logits(const LinearCrossEntropyInputs<Scalar>& in, const ProductOptions& products, Body body) {
  // About 16 MB of logits (in float), but at least 64 tokens, so that the product is fast.
  const Index chunk = std::max<Index>(64, (Index{1} << 22) / std::max<Index>(1, in.weight.rows()));
  Matrix<Scalar> logits(std::min<Index>(chunk, in.x.rows()), in.weight.rows());
  for (Index i = 0; i < in.x.rows(); i += chunk) {
    const Index tokens = std::min<Index>(chunk, in.x.rows() - i);
    linear_forward<Scalar>(in.x.middleRows(i, tokens), in.weight, in.bias, logits.topRows(tokens), products);
    body(i, tokens, MatrixRef<Scalar>(logits.topRows(tokens)));
  }
}

/// Returns the options for a chunk of rows: losses are summed, so that the sums of the chunks add up.
inline CrossEntropyOptions summed(CrossEntropyOptions options) {
  options.reduction = Reduction::sum;
  return options;
}

}  // namespace detail

/// Returns the loss that cross_entropy_forward gives for the logits x weight^T + bias. log_sum_exp: [tokens x 1], saved
/// for the backward. Throws if shapes, labels or options do not fit.
template <class Scalar>
Scalar linear_cross_entropy_forward(const LinearCrossEntropyInputs<Scalar>& in, std::span<const Token> labels,
                                    const CrossEntropyOptions& options, MatrixRef<Scalar> log_sum_exp,
                                    const ProductOptions& products = {}) {
  const double scale = detail::check_cross_entropy({in.x.rows(), in.weight.rows()}, labels, options);
  check_shape("cross_entropy", "log_sum_exp", shape(log_sum_exp), {in.x.rows(), 1});
  detail::Sum<Scalar> sum = 0;
  detail::for_each_logits(in, products, [&](Index first, Index tokens, const MatrixRef<Scalar>& logits) {
    sum += static_cast<detail::Sum<Scalar>>(cross_entropy_forward<Scalar>(
        logits, labels.subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(tokens)),
        detail::summed(options), log_sum_exp.middleRows(first, tokens), products.threads));
  });
  return static_cast<Scalar>(sum * scale);
}

/// Writes the gradients of x, weight and bias. d_loss: the gradient of the forward's result. Recomputes the logits.
/// Throws if shapes, labels or options do not fit.
template <class Scalar>
void linear_cross_entropy_backward(const LinearCrossEntropySaved<Scalar>& saved, std::span<const Token> labels,
                                   const CrossEntropyOptions& options, Scalar d_loss,
                                   LinearCrossEntropyGradients<Scalar> to, const ProductOptions& products = {}) {
  const auto& x = saved.in.x;
  const auto& weight = saved.in.weight;
  const double scale = detail::check_cross_entropy({x.rows(), weight.rows()}, labels, options);
  check_shape("cross_entropy", "log_sum_exp", shape(saved.log_sum_exp), {x.rows(), 1});
  check_shape("cross_entropy", "d_x", shape(to.d_x), shape(x));
  check_shape("cross_entropy", "d_weight", shape(to.d_weight), shape(weight));
  if (to.d_bias.size() > 0) check_shape("cross_entropy", "d_bias", shape(to.d_bias), {1, weight.rows()});
  const auto d_sum = static_cast<Scalar>(static_cast<double>(d_loss) * scale);
  to.d_weight.setZero();
  to.d_bias.setZero();
  Matrix<Scalar> of_chunk(to.d_bias.rows(), to.d_bias.cols());
  detail::for_each_logits(saved.in, products, [&](Index first, Index tokens, MatrixRef<Scalar> logits) {
    cross_entropy_backward<Scalar>({logits, saved.log_sum_exp.middleRows(first, tokens)},
                                   labels.subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(tokens)),
                                   detail::summed(options), d_sum, logits, products.threads);
    linear_backward_input<Scalar>(weight, logits, to.d_x.middleRows(first, tokens), products);
    const auto chunk = x.middleRows(first, tokens);
    const detail::ContiguousRows<Scalar> sums{to.d_weight.data(), to.d_weight.outerStride()};
    detail::multiply<Scalar>({.rows = weight.rows(),
                              .cols = weight.cols(),
                              .depth = tokens,
                              .a = {logits.data(), 1, logits.outerStride()},
                              .b = {chunk.data(), chunk.outerStride(), 1},
                              .start = {sums.data, sums.stride},
                              .c = sums},
                             products);
    if (to.d_bias.size() == 0) return;
    linear_backward_bias<Scalar>(logits, of_chunk, products.threads);
    to.d_bias += of_chunk;
  });
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
