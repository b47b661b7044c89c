// The output layer and its cross entropy, fused for large vocabularies. They process the tokens in chunks, so that the
// logits [tokens x vocabulary size], often the largest matrix of a model, never exist as a whole. For the options of
// products see matmul.hpp.
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

/// The outputs of the backward. Each may be empty if it is not wanted.
template <class Scalar>
struct LinearCrossEntropyGradients {
  MatrixRef<Scalar> d_x;       // [tokens x width]
  MatrixRef<Scalar> d_weight;  // [vocabulary_size x width]
  MatrixRef<Scalar> d_bias;    // [1 x vocabulary_size]
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

/// Throws unless each gradient is empty or has the shape of its input. Without tokens, sets d_weight and d_bias to
/// zeros, because no chunk will write them.
template <class Scalar>
void prepare_gradients(const LinearCrossEntropyInputs<Scalar>& in, LinearCrossEntropyGradients<Scalar>& to) {
  if (to.d_x.size() > 0) check_shape("cross_entropy", "d_x", shape(to.d_x), shape(in.x));
  if (to.d_weight.size() > 0) check_shape("cross_entropy", "d_weight", shape(to.d_weight), shape(in.weight));
  if (to.d_bias.size() > 0) check_shape("cross_entropy", "d_bias", shape(to.d_bias), {1, in.weight.rows()});
  if (in.x.rows() > 0) return;
  to.d_weight.setZero();
  to.d_bias.setZero();
}

/// Writes d_x of a chunk of tokens that begins at row `first`, and adds the chunk's gradients of weight and bias; the
/// first chunk overwrites them.
template <class Scalar>
void backpropagate_chunk(const LinearCrossEntropyInputs<Scalar>& in, Index first,
                         const ConstMatrixRef<Scalar>& d_logits, LinearCrossEntropyGradients<Scalar>& to,
                         const ProductOptions& products) {
  const Index tokens = d_logits.rows();
  if (to.d_x.size() > 0) linear_backward_input<Scalar>(in.weight, d_logits, to.d_x.middleRows(first, tokens), products);
  if (to.d_weight.size() > 0) {
    const ContiguousRows<const Scalar> sums{to.d_weight.data(), to.d_weight.outerStride()}, none{};
    multiply<Scalar>({.rows = in.weight.rows(),
                      .cols = in.weight.cols(),
                      .depth = tokens,
                      .a = {d_logits.data(), 1, d_logits.outerStride()},
                      .b = {in.x.data() + first * in.x.outerStride(), in.x.outerStride(), 1},
                      .start = first == 0 ? none : sums,
                      .c = {to.d_weight.data(), to.d_weight.outerStride()}},
                     products);
  }
  if (to.d_bias.size() == 0) return;
  Matrix<Scalar> of_chunk(1, to.d_bias.cols());
  linear_backward_bias<Scalar>(d_logits, of_chunk, products.threads);
  if (first == 0)
    to.d_bias = of_chunk;
  else
    to.d_bias += of_chunk;
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
  detail::prepare_gradients(saved.in, to);
  const auto d_sum = static_cast<Scalar>(static_cast<double>(d_loss) * scale);
  detail::for_each_logits(saved.in, products, [&](Index first, Index tokens, MatrixRef<Scalar> logits) {
    cross_entropy_backward<Scalar>({logits, saved.log_sum_exp.middleRows(first, tokens)},
                                   labels.subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(tokens)),
                                   detail::summed(options), d_sum, logits, products.threads);
    detail::backpropagate_chunk<Scalar>(saved.in, first, logits, to, products);
  });
}

/// Returns the loss, as linear_cross_entropy_forward does, and writes the gradients of x, weight and bias that
/// linear_cross_entropy_backward gives for a d_loss of 1. Computes the logits once; the two functions together compute
/// them twice. Throws if shapes, labels or options do not fit.
///
/// Source: Hsu et al. 2024, "Liger Kernel", arXiv 2410.10989, section 3.2, "FusedLinearCrossEntropy".
template <class Scalar>
Scalar linear_cross_entropy_with_gradients(const LinearCrossEntropyInputs<Scalar>& in, std::span<const Token> labels,
                                           const CrossEntropyOptions& options, LinearCrossEntropyGradients<Scalar> to,
                                           const ProductOptions& products = {}) {
  const double scale = detail::check_cross_entropy({in.x.rows(), in.weight.rows()}, labels, options);
  detail::prepare_gradients(in, to);
  detail::Sum<Scalar> sum = 0;
  Matrix<Scalar> log_sum_exp(in.x.rows(), 1);
  detail::for_each_logits(in, products, [&](Index first, Index tokens, MatrixRef<Scalar> logits) {
    const auto of_chunk = labels.subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(tokens));
    const auto sums = log_sum_exp.middleRows(first, tokens);
    sum += static_cast<detail::Sum<Scalar>>(
        cross_entropy_forward<Scalar>(logits, of_chunk, detail::summed(options), sums, products.threads));
    cross_entropy_backward<Scalar>({logits, sums}, of_chunk, detail::summed(options), static_cast<Scalar>(scale),
                                   logits, products.threads);
    detail::backpropagate_chunk<Scalar>(in, first, logits, to, products);
  });
  return static_cast<Scalar>(sum * scale);
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
