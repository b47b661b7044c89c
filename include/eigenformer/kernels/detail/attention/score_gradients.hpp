// Computes the gradients of queries and keys from the gradients of attention's weights, for all scores of a sequence at
// once.
#pragma once

#include <limits>

#include "eigenformer/kernels/detail/attention/score_matrix.hpp"
#include "eigenformer/kernels/detail/rows/all_finite.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

/// Sets the gradients of scores to 0 where the weights are 0 or subnormal. Such a score may be hidden, and then its
/// derivative may be infinite or NaN.
template <class Scalar>
void clear_where_weights_are_zero(const ScoreMatrix<Scalar>& weights, ScoreMatrix<Scalar>& d_scores) {
  d_scores = (weights.array() < (std::numeric_limits<Scalar>::min)()).select(Scalar(0), d_scores.array());
}

/// Turns `d` from the gradients of the weights into the gradients of the scores, in place. This is the derivative of
/// each query's softmax.
template <class Scalar>
void differentiate_softmax(const ScoreMatrix<Scalar>& weights, ScoreMatrix<Scalar>& d) {
  Eigen::Array<Scalar, Eigen::Dynamic, 1> mean = Eigen::Array<Scalar, Eigen::Dynamic, 1>::Zero(d.rows());
  for (Index j = 0; j < d.cols(); ++j) mean += weights.col(j).array() * d.col(j).array();
  for (Index j = 0; j < d.cols(); ++j) d.col(j).array() = weights.col(j).array() * (d.col(j).array() - mean);
}

/// Queries and keys, and where to write their gradients.
template <class Scalar>
struct QueryKeyRows {
  HeadRows<const Scalar> q;
  HeadRows<const Scalar> k;
  HeadRows<Scalar> d_q;
  HeadRows<Scalar> d_k;
};

/// Writes d_q = d_scores K and adds d_scores^T Q to d_k, for one head. d_scores include the scale; `scores` tell which
/// keys are hidden.
template <class Scalar>
void add_score_gradients(const AttentionLayout& layout, const ScoreTile& tile, const ScoreMatrix<Scalar>& scores,
                         const ScoreMatrix<Scalar>& d_scores, const QueryKeyRows<Scalar>& rows) {
  const Index d = layout.key_width, n = tile.queries, m = tile.keys;
  const Index key_head = layout.key_head(tile.head), first_key = layout.key_rows.begin(tile.sequence);
  const Strided<Scalar> queries = rows.q.from(tile.head, tile.first_row), keys = rows.k.from(key_head, first_key);
  const ContiguousRows<Scalar> to_q{rows.d_q.row(tile.head, tile.first_row), rows.d_q.row_stride};
  const ContiguousRows<Scalar> to_k{rows.d_k.row(key_head, first_key), rows.d_k.row_stride};
  const Strided<Scalar> by_queries{d_scores.data(), 1, n};
  if (all_finite(queries, n, d) && all_finite(keys, m, d)) {
    multiply_block<Scalar>({.rows = n, .cols = d, .depth = m, .a = by_queries, .b = keys, .start = {}, .c = to_q});
    multiply_block<Scalar>({.rows = m,
                            .cols = d,
                            .depth = n,
                            .a = transposed(by_queries),
                            .b = queries,
                            .start = {to_k.data, to_k.stride},
                            .c = to_k});
    return;
  }
  // A gradient of 0 times infinity or NaN is NaN, which must not reach the gradients of what is hidden.
  for (Index i = 0; i < n; ++i) std::fill_n(to_q.row(i), d, Scalar(0));
  for (Index j = 0; j < m; ++j)
    for (Index i = 0; i < n; ++i) {
      if (scores(i, j) == hidden_score<Scalar>) continue;
      for (Index c = 0; c < d; ++c) to_q.row(i)[c] += d_scores(i, j) * keys(j, c);
      for (Index c = 0; c < d; ++c) to_k.row(j)[c] += d_scores(i, j) * queries(i, c);
    }
}

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
