// Calls of attention with any of the scores that tests use. Included only by the files that compile them.
#pragma once

#include "eigenformer/kernels/attention_backward.hpp"
#include "kernels/attention_cases.hpp"

namespace eigenformer::testing {

template <class Scalar>
Attended<Scalar> attend(const AttentionCase<Scalar>& c, const std::type_identity_t<TestedScore<Scalar>>& score,
                        Threads* threads, Index extra) {
  const auto widened = [&](const Matrix<Scalar>& m) {
    Matrix<Scalar> wide = not_written<Scalar>(m.rows(), m.cols() + extra);
    wide.leftCols(m.cols()) = m;
    return wide;
  };
  const Matrix<Scalar> q_wide = widened(c.q), k_wide = widened(c.k), v_wide = widened(c.v);
  const auto q = q_wide.leftCols(c.q.cols()), k = k_wide.leftCols(c.k.cols()), v = v_wide.leftCols(c.v.cols());
  Attended<Scalar> result{not_written<Scalar>(c.d_out.rows(), c.d_out.cols()),
                          not_written<ComputeType<Scalar>>(c.q.rows(), c.options.heads)};
  AttentionOptions options = c.options;
  options.threads = threads;
  std::visit(
      [&](const auto& s) {
        attention_forward<Scalar>({strided_view(q), strided_view(k), strided_view(v)}, s, options,
                                  {result.out, result.log_sum_exp});
      },
      score);
  return result;
}

template <class Scalar>
AttentionGradients<Scalar> gradients(const AttentionCase<Scalar>& c,
                                     const std::type_identity_t<TestedScore<Scalar>>& score, Threads* threads) {
  const Attended<Scalar> forward = attend(c, score, threads);
  AttentionGradients<Scalar> d{not_written<Scalar>(c.q.rows(), c.q.cols()), not_written<Scalar>(c.k.rows(), c.k.cols()),
                               not_written<Scalar>(c.v.rows(), c.v.cols())};
  AttentionOptions options = c.options;
  options.threads = threads;
  std::visit(
      [&](const auto& s) {
        attention_backward<Scalar>({strided_view(c.q), strided_view(c.k), strided_view(c.v)}, s, options,
                                   {forward.out, forward.log_sum_exp}, c.d_out, {d.q, d.k, d.v});
      },
      score);
  return d;
}

}  // namespace eigenformer::testing
