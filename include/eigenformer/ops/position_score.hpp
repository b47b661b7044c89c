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
class PositionScore : public VariableScore<Scalar> {
 public:
  /// ALiBi: subtracts slope * distance from each score.
  static PositionScore alibi(const Alibi& alibi, const VariableScore<Scalar>& other) {
    return PositionScore(VariableScore<Scalar>(alibi.after_past()), other);
  }

  /// T5's bias: adds weights(bucket of the distance, head) to each score. weights: [buckets x heads].
  static PositionScore bucketed(const RelativeBuckets& buckets, const Variable<Scalar>& weights,
                                const VariableScore<Scalar>& other) {
    return of_numbers(
        weights, {weights.rows(), weights.cols()},
        [buckets](const TensorView<const Scalar>& numbers, const TensorView<Scalar>& gradient) {
          return RelativeBias<Scalar>(numbers, buckets, gradient).after_past();
        },
        other);
  }

  /// Shaw's relative positions on the keys: adds q_i . aK_clip(j - i) / sqrt(d) to each score. Throws if the widths do
  /// not fit.
  /// q: [queries x heads * d]; vectors: aK, [2k + 1 x d], shared by the heads.
  static PositionScore relative(const Context<Scalar>& context, const Variable<Scalar>& q,
                                const Variable<Scalar>& vectors, Index heads, const VariableScore<Scalar>& other) {
    check(vectors.cols() * heads == q.cols(), "relative positions: q is ", shape(q), ", the vectors are ",
          shape(vectors), ", expected q to have ", heads, " heads as wide as the vectors");
    const Variable<Scalar> scaled = scale(context, vectors, 1 / std::sqrt(static_cast<Scalar>(vectors.cols())));
    const Variable<Scalar> each_head = reshape(context, q, q.rows() * heads, vectors.cols());
    return of_numbers(
        linear(context, each_head, scaled), {q.rows(), heads, vectors.rows()},
        [](const TensorView<const Scalar>& numbers, const TensorView<Scalar>& gradient) {
          return RelativeKeys<Scalar>(numbers, gradient).after_past();
        },
        other);
  }

 private:
  PositionScore(const VariableScore<Scalar>& by_position, const VariableScore<Scalar>& other)
      : VariableScore<Scalar>(by_position.combined_with(other)) {}

  /// Returns the score make(numbers, gradient), combined with `other`. Both views that `make` takes have this shape.
  template <class Make>
  static PositionScore of_numbers(const Variable<Scalar>& numbers, const Sizes& shape, Make make,
                                  const VariableScore<Scalar>& other) {
    return PositionScore(
        VariableScore<Scalar>({ScoreInput<Scalar>{numbers}},
                              [=](std::span<const TensorView<Scalar>> gradients) {
                                const bool wanted = !gradients.empty() && gradients[0].data() != nullptr;
                                return AnyScore<Scalar>(make(
                                    TensorView<const Scalar>(numbers.value().data(), shape),
                                    wanted ? TensorView<Scalar>(gradients[0].data(), shape) : TensorView<Scalar>()));
                              }),
        other);
  }
};

namespace detail {

/// Returns the attention weights, summed by clipped distance: [queries x heads * distances].
/// distances: 2 K + 1, if distances are clipped to -K .. K. options: completed by with_context.
template <class Scalar>
Variable<Scalar> weights_by_distance(const Context<Scalar>& context, const QueryKeyValue<Scalar>& in,
                                     const VariableScore<Scalar>& score, Index distances,
                                     const AttentionOptions& options) {
  RecordedAttention<Scalar> call(in, options);
  call.y = context.new_matrix(in.q.rows(), options.heads * distances);
  with_kernel_score(score.score(), [&](const auto& s) {
    weights_by_distance_forward<Scalar>(in.q.value(), in.k.value(), s, call.options, call.y.writable());
  });
  std::vector<Variable<Scalar>> inputs{in.q, in.k, in.sinks};
  for (const ScoreInput<Scalar>& input : score.inputs()) inputs.push_back(input.variable);
  const Variable<Scalar> w = call.y;
  return context.record(w, inputs, [call = std::move(call), score](const Variable<Scalar>& d_w, Tape<Scalar>& tape) {
    const Variable<Scalar>&q = call.in.q, &k = call.in.k;
    Variable<Scalar> d_q = tape.new_matrix(q.rows(), q.cols()), d_k = tape.new_matrix(k.rows(), k.cols());
    ScoreGradients<Scalar> others(tape, score.inputs(), call.in.sinks, call.options.heads);
    with_kernel_score(score.score(others.views()), [&](const auto& s) {
      weights_by_distance_backward<Scalar>(q.value(), k.value(), s, call.options, d_w.value(),
                                           {d_q.writable(), d_k.writable(), others.d_sinks()});
    });
    tape.add_gradient(q, std::move(d_q));
    tape.add_gradient(k, std::move(d_k));
    others.finish();
  });
}

}  // namespace detail

/// Returns attention with relative positions on the values too (Shaw et al. 2018, equation 3):
/// [queries x heads * value width]. The result of query i in each head is
///
///   z_i = sum_j a_ij (v_j + aV_clip(j - i))
///
/// vectors: aV, [2k + 1 x value width], shared by the heads. Throws if the widths do not fit, or if q, k and v are not
/// matrices.
///
/// Summing the weights by distance recomputes all scores of a sequence, one head at a time. It costs as much time as a
/// second attention, and an [n x n] matrix per thread.
template <class Scalar>
Variable<Scalar> attention_with_relative_values(const Context<Scalar>& context, const QueryKeyValue<Scalar>& in,
                                                const Variable<Scalar>& vectors, const VariableScore<Scalar>& score,
                                                const AttentionOptions& given = {}) {
  check(!in.q.is_tensor() && !in.k.is_tensor() && !in.v.is_tensor(), "relative positions: q is ", in.q.sizes(),
        ", k is ", in.k.sizes(), ", v is ", in.v.sizes(), ", expected matrices");
  const AttentionOptions options = detail::with_context(context, given);
  const Variable<Scalar> attended = detail::attention_by(context, in, score, options);
  check(attended.cols() == options.heads * vectors.cols(), "relative positions: v is ", shape(in.v),
        ", the vectors are ", shape(vectors), ", expected vectors as wide as a head of v");
  const Variable<Scalar> w = detail::weights_by_distance(context, in, score, vectors.rows(), options);
  const Variable<Scalar> moved =
      matmul(context, reshape(context, w, in.q.rows() * options.heads, vectors.rows()), vectors);
  return add(context, attended, reshape(context, moved, attended.rows(), attended.cols()));
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
