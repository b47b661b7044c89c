// Attention with scores that depend on the distance of query and key: ALiBi, T5's bias and Shaw's relative positions.
#pragma once

#include "eigenformer/kernels/scores/alibi.hpp"
#include "eigenformer/kernels/scores/relative_bias.hpp"
#include "eigenformer/kernels/weights_by_distance.hpp"
#include "eigenformer/ops/arithmetic.hpp"
#include "eigenformer/ops/attention.hpp"
#include "eigenformer/ops/matmul.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// A distance-dependent score combined with any other score, both chosen at run time. For the distances, queries are
/// the last tokens of their sequence's keys: in self-attention every token is a query, with a cache only the newest
/// tokens are.
template <class Scalar>
class PositionScore {
 public:
  /// ALiBi: subtracts slope * distance from each score.
  static PositionScore alibi(const Alibi& alibi, const AnyScore<Scalar>& other) { return {alibi, {}, other}; }

  /// T5's bias: adds weights(bucket of the distance, head) to each score. weights: [buckets x heads].
  static PositionScore bucketed(const RelativeBuckets& buckets, const Variable<Scalar>& weights,
                                const AnyScore<Scalar>& other) {
    return {buckets, weights, other};
  }

  /// Shaw's relative positions on the keys: adds q_i . aK_clip(j - i) / sqrt(d) to each score. Throws if the widths do
  /// not fit.
  /// q: [queries x heads * d]; vectors: aK, [2k + 1 x d], shared by the heads.
  static PositionScore relative(const Context<Scalar>& context, const Variable<Scalar>& q,
                                const Variable<Scalar>& vectors, Index heads, const AnyScore<Scalar>& other) {
    check(vectors.cols() * heads == q.cols(), "relative positions: q is ", shape(q), ", the vectors are ",
          shape(vectors), ", expected q to have ", heads, " heads as wide as the vectors");
    const Variable<Scalar> scaled = scale(context, vectors, 1 / std::sqrt(static_cast<Scalar>(vectors.cols())));
    const Variable<Scalar> each_head = reshape(context, q, q.rows() * heads, vectors.cols());
    return {heads, reshape(context, linear(context, each_head, scaled), q.rows(), heads * vectors.rows()), other};
  }

  /// The differentiable numbers of the score: T5's weights, or Shaw's products of q and aK. Empty for ALiBi.
  const Variable<Scalar>& numbers() const { return numbers_; }

  /// Returns the score. It refers to numbers(), which must outlive it.
  /// d_numbers: an array of the shape of numbers(), to which the score's backward adds their gradient; null for none.
  AnyScore<Scalar> score(Scalar* d_numbers = nullptr) const {
    return std::visit([&](const auto& kind) { return AnyScore<Scalar>(bias(kind, d_numbers)).combined_with(other_); },
                      kind_);
  }

 private:
  using Kind = std::variant<Alibi, RelativeBuckets, Index>;  // Index: Shaw's, with that many heads

  PositionScore(Kind kind, Variable<Scalar> numbers, const AnyScore<Scalar>& other)
      : kind_(std::move(kind)), numbers_(std::move(numbers)), other_(other) {}

  static Alibi bias(const Alibi& alibi, Scalar*) { return alibi.after_past(); }
  RelativeBias<Scalar> bias(const RelativeBuckets& buckets, Scalar* d_numbers) const {
    return RelativeBias<Scalar>(numbers({numbers_.rows(), numbers_.cols()}), buckets,
                                gradient(d_numbers, {numbers_.rows(), numbers_.cols()}))
        .after_past();
  }
  RelativeKeys<Scalar> bias(Index heads, Scalar* d_numbers) const {
    const Sizes shape{numbers_.rows(), heads, numbers_.cols() / heads};
    return RelativeKeys<Scalar>(numbers(shape), gradient(d_numbers, shape)).after_past();
  }

  TensorView<const Scalar> numbers(const Sizes& shape) const { return {numbers_.value().data(), shape}; }
  static TensorView<Scalar> gradient(Scalar* data, const Sizes& shape) {
    return data == nullptr ? TensorView<Scalar>() : TensorView<Scalar>(data, shape);
  }

  Kind kind_;
  Variable<Scalar> numbers_;
  AnyScore<Scalar> other_;
};

namespace detail {

/// Returns the attention weights, summed by clipped distance: [queries x heads * distances].
/// distances: 2 K + 1, if distances are clipped to -K .. K. options: completed by with_context.
template <class Scalar>
Variable<Scalar> weights_by_distance(const Context<Scalar>& context, const Variable<Scalar>& q,
                                     const Variable<Scalar>& k, const PositionScore<Scalar>& score, Index distances,
                                     const AttentionOptions& options) {
  Variable<Scalar> w = context.new_matrix(q.rows(), options.heads * distances);
  with_kernel_score(score.score(), [&](const auto& s) {
    weights_by_distance_forward<Scalar>(q.value(), k.value(), s, options, w.writable());
  });
  return context.record(std::move(w), {q, k, score.numbers()},
                        [q, k, score, options](const Variable<Scalar>& d_w, Tape<Scalar>& tape) {
                          Variable<Scalar> d_q = tape.new_matrix(q.rows(), q.cols());
                          Variable<Scalar> d_k = tape.new_matrix(k.rows(), k.cols());
                          Variable<Scalar> d_numbers = tape.new_matrix(score.numbers().rows(), score.numbers().cols());
                          d_numbers.writable().setZero();
                          with_kernel_score(score.score(d_numbers.writable().data()), [&](const auto& s) {
                            weights_by_distance_backward<Scalar>(q.value(), k.value(), s, options, d_w.value(),
                                                                 {d_q.writable(), d_k.writable()});
                          });
                          tape.add_gradient(q, std::move(d_q));
                          tape.add_gradient(k, std::move(d_k));
                          tape.add_gradient(score.numbers(), std::move(d_numbers));
                        });
}

}  // namespace detail

/// Returns attention with relative positions on the values too (Shaw et al. 2018, equation 3):
/// [queries x heads * value width]. The result of query i in each head is
///
///   z_i = sum_j a_ij (v_j + aV_clip(j - i))
///
/// vectors: aV, [2k + 1 x value width], shared by the heads. Throws if the widths do not fit.
///
/// Summing the weights by distance recomputes all scores of a sequence, one head at a time. It costs as much time as a
/// second attention, and an [n x n] matrix per thread.
template <class Scalar>
Variable<Scalar> attention_with_relative_values(const Context<Scalar>& context, const QueryKeyValue<Scalar>& in,
                                                const Variable<Scalar>& vectors, const PositionScore<Scalar>& score,
                                                const AttentionOptions& given = {}) {
  const AttentionOptions options = detail::with_context(context, given);
  const Variable<Scalar> attended =
      detail::attention_by(context, in, score.numbers(), detail::score_maker<Scalar>(score), options);
  check(attended.cols() == options.heads * vectors.cols(), "relative positions: v is ", shape(in.v),
        ", the vectors are ", shape(vectors), ", expected vectors as wide as a head of v");
  const Variable<Scalar> w = detail::weights_by_distance(context, in.q, in.k, score, vectors.rows(), options);
  const Variable<Scalar> moved =
      matmul(context, reshape(context, w, in.q.rows() * options.heads, vectors.rows()), vectors);
  return add(context, attended, reshape(context, moved, attended.rows(), attended.cols()));
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
