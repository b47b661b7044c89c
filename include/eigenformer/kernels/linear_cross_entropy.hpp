// The loss of a large vocabulary: the output layer and its cross entropy in one, some tokens at a time, so that the
// logits [tokens x vocabulary size], the largest matrix of many a model, are never held.
#pragma once

#include "eigenformer/kernels/cross_entropy.hpp"
#include "eigenformer/kernels/matmul.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

namespace detail {

/// Calls body(first token, tokens, logits [tokens x vocabulary size]) for one chunk of tokens after the other.
template <class Scalar, class Body>
void for_each_logits(const ConstMatrixRef<Scalar>& x, const ConstMatrixRef<Scalar>& weight,
                     const ConstMatrixRef<Scalar>& bias, Threads* threads, Body body) {
  // Logits of some 16 MB, but of as many tokens as a product needs to be fast.
  const Index chunk = std::max<Index>(64, (Index{1} << 22) / std::max<Index>(1, weight.rows()));
  Matrix<Scalar> logits(std::min<Index>(chunk, x.rows()), weight.rows());
  for (Index i = 0; i < x.rows(); i += chunk) {
    const Index tokens = std::min<Index>(chunk, x.rows() - i);
    linear_forward<Scalar>(x.middleRows(i, tokens), weight, bias, logits.topRows(tokens), threads);
    body(i, tokens, MatrixRef<Scalar>(logits.topRows(tokens)));
  }
}

/// The same reduction over a part of the rows: their sum, so that the parts' sums add up.
inline CrossEntropyOptions summed(CrossEntropyOptions options) {
  options.reduction = Reduction::sum;
  return options;
}

}  // namespace detail

/// cross_entropy_forward of the logits x weight^T + bias. x: [tokens x width], weight: [vocabulary size x width], bias:
/// [1 x vocabulary size] or empty; log_sum_exp: [tokens x 1], kept for the backward.
template <class Scalar>
Scalar linear_cross_entropy_forward(const ConstMatrixRef<Scalar>& x, const ConstMatrixRef<Scalar>& weight,
                                    const ConstMatrixRef<Scalar>& bias, std::span<const Token> labels,
                                    const CrossEntropyOptions& options, MatrixRef<Scalar> log_sum_exp,
                                    Threads* threads = nullptr) {
  const double scale = detail::check_cross_entropy({x.rows(), weight.rows()}, labels, options);
  check_shape("cross_entropy", "log_sum_exp", shape(log_sum_exp), {x.rows(), 1});
  detail::Sum<Scalar> sum = 0;
  detail::for_each_logits(x, weight, bias, threads, [&](Index first, Index tokens, const MatrixRef<Scalar>& logits) {
    sum += static_cast<detail::Sum<Scalar>>(cross_entropy_forward<Scalar>(
        logits, labels.subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(tokens)),
        detail::summed(options), log_sum_exp.middleRows(first, tokens), threads));
  });
  return static_cast<Scalar>(sum * scale);
}

/// The gradients of x, weight and bias, for which the logits are made once more; d_bias may be empty.
template <class Scalar>
void linear_cross_entropy_backward(const ConstMatrixRef<Scalar>& x, const ConstMatrixRef<Scalar>& weight,
                                   const ConstMatrixRef<Scalar>& bias, const ConstMatrixRef<Scalar>& log_sum_exp,
                                   std::span<const Token> labels, const CrossEntropyOptions& options, Scalar d_loss,
                                   MatrixRef<Scalar> d_x, MatrixRef<Scalar> d_weight, MatrixRef<Scalar> d_bias,
                                   Threads* threads = nullptr) {
  const double scale = detail::check_cross_entropy({x.rows(), weight.rows()}, labels, options);
  check_shape("cross_entropy", "log_sum_exp", shape(log_sum_exp), {x.rows(), 1});
  check_shape("cross_entropy", "d_x", shape(d_x), shape(x));
  check_shape("cross_entropy", "d_weight", shape(d_weight), shape(weight));
  const auto d_sum = static_cast<Scalar>(static_cast<double>(d_loss) * scale);
  d_weight.setZero();
  d_bias.setZero();
  Matrix<Scalar> of_chunk(d_bias.rows(), d_bias.cols());
  detail::for_each_logits(x, weight, bias, threads, [&](Index first, Index tokens, MatrixRef<Scalar> logits) {
    cross_entropy_backward<Scalar>(logits, log_sum_exp.middleRows(first, tokens),
                                   labels.subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(tokens)),
                                   detail::summed(options), d_sum, logits, threads);
    linear_backward_input<Scalar>(weight, logits, d_x.middleRows(first, tokens), threads);
    const auto chunk = x.middleRows(first, tokens);
    detail::for_each_product_block<Scalar>(
        weight.rows(), weight.cols(), threads, [&](Index i, Index rows, Index j, Index cols) {
          Scalar* sums = d_weight.data() + i * d_weight.outerStride() + j;
          detail::multiply_block<Scalar>({.rows = rows,
                                          .cols = cols,
                                          .depth = tokens,
                                          .a = {logits.data() + i, 1, logits.outerStride()},
                                          .b = {chunk.data() + j, chunk.outerStride(), 1},
                                          .start = {sums, d_weight.outerStride()},
                                          .c = {sums, d_weight.outerStride()}});
        });
    if (d_bias.size() == 0) return;
    linear_backward_bias<Scalar>(logits, of_chunk, threads);
    d_bias += of_chunk;
  });
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
