// The gradients of attention.
//
// Let S be the scaled scores, S' = apply(S), P = softmax(S'), and D the dropout mask divided by its keep probability.
// With * entry by entry, the result is O = (P * D) V. Its gradients are:
//
//   dV = (P * D)^T dO                      dP = (dO V^T) * D
//   dS' = P * (dP - rowsum(P * dP))        rowsum(P * dP) = rowsum(O * dO)
//   dQ = scale dS K                        dK = scale dS^T Q
//
// The score's apply_backward turns dS' into dS. P is recomputed from Q, K and the log-sum-exp, one tile of queries and
// keys at a time: see detail/attention/backward_tile.hpp.
#pragma once

#include "eigenformer/kernels/attention.hpp"
#include "eigenformer/kernels/detail/attention/attend_backward.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// The outputs of attention_forward that its backward reads.
template <class Scalar>
struct AttentionSaved {
  ConstMatrixRef<Scalar> out;
  ConstMatrixRef<Scalar> log_sum_exp;
};

/// The outputs of the backward, shaped like q, k and v. Rows that attended to nothing, or that nothing attended to, are
/// zeros.
template <class Scalar>
struct AttentionGradients {
  MatrixRef<Scalar> d_q;
  MatrixRef<Scalar> d_k;
  MatrixRef<Scalar> d_v;
};

/// Writes the gradients of attention_forward. saved: what the forward wrote; d_out: shaped like `out`. Also adds to
/// the gradients that the score itself has, if any. Throws if shapes do not fit, or if options.key_index is given (a
/// cache has no gradient), before it writes.
template <class Scalar, class S>
void attention_backward(const AttentionInputs<Scalar>& in, const S& score, const AttentionOptions& options,
                        const AttentionSaved<Scalar>& saved, const ConstMatrixRef<Scalar>& d_out,
                        AttentionGradients<Scalar> to) {
  const auto& checked = detail::differentiable_score<Scalar>(score);
  const Shape q = detail::matrix_shape("q", in.q), k = detail::matrix_shape("k", in.k);
  const Shape v = detail::matrix_shape("v", in.v);
  const detail::AttentionLayout layout = detail::attention_layout(q, k, v, options);
  check(!options.key_index.has_value(), "attention: key_index has no backward");
  const Shape result{q.rows, layout.heads * layout.value_width};
  check_shape("attention", "out", shape(saved.out), result);
  check_shape("attention", "d_out", shape(d_out), result);
  check_shape("attention", "log_sum_exp", shape(saved.log_sum_exp), {q.rows, layout.heads});
  check_shape("attention", "d_q", shape(to.d_q), q);
  check_shape("attention", "d_k", shape(to.d_k), k);
  check_shape("attention", "d_v", shape(to.d_v), v);
  const detail::BackwardRows<Scalar> rows{detail::head_columns(in.q, layout.heads),
                                          detail::head_columns(in.k, layout.key_heads),
                                          detail::head_columns(in.v, layout.key_heads),
                                          detail::head_columns(strided_view(saved.out), layout.heads),
                                          detail::head_columns(strided_view(d_out), layout.heads),
                                          saved.log_sum_exp,
                                          detail::head_columns(to.d_q, layout.heads),
                                          detail::head_columns(to.d_k, layout.key_heads),
                                          detail::head_columns(to.d_v, layout.key_heads)};
  detail::attend_backward(layout, rows, checked, options);
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
