// The derivative of attention.
#pragma once

#include "eigenformer/kernels/attention.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

namespace detail {

// With S the scaled scores, S' = apply(S), P = softmax(S'), D the dropout mask over its keep probability and
// O = (P * D) V, where * is entry by entry:
//
//   dV = (P * D)^T dO                      dP = (dO V^T) * D
//   dS' = P * (dP - rowsum(P * dP))        rowsum(P * dP) = rowsum(O * dO)
//   dQ = scale dS K                        dK = scale dS^T Q          dS: dS' through the derivative of apply
//
// P is made again from Q, K and the log-sum-exp. One key head of one sequence is a task: it alone writes its rows of dK
// and dV and those of its query heads in dQ, so sums are made in one order whatever the number of threads.
template <class Scalar, Score S>
void attend_backward_head(const AttentionLayout& layout, const HeadRows<const Scalar>& q,
                          const HeadRows<const Scalar>& k, const HeadRows<const Scalar>& v, const S& score,
                          const AttentionDropout& dropout, Index sequence, Index key_head,
                          const ConstMatrixRef<Scalar>& out, const ConstMatrixRef<Scalar>& log_sum_exp,
                          const ConstMatrixRef<Scalar>& d_out, MatrixRef<Scalar>& d_q, MatrixRef<Scalar>& d_k,
                          MatrixRef<Scalar>& d_v) {
  const Index d = layout.key_width;
  const Index e = layout.value_width;
  const Index first_query = layout.query_rows.begin(sequence);
  const Index first_key = layout.key_rows.begin(sequence);
  const Index group = layout.heads / layout.key_heads;
  const auto scale = static_cast<Scalar>(layout.scale);

  ScoreTile tile;
  tile.sequence = sequence;
  tile.first_row = first_query;
  tile.queries = layout.query_rows.length(sequence);
  tile.keys = layout.key_rows.length(sequence);
  // A matrix without rows may have no memory, where a block must not begin.
  if (tile.queries > 0) d_q.block(first_query, key_head * group * d, tile.queries, group * d).setZero();
  if (tile.keys > 0) {
    d_k.block(first_key, key_head * d, tile.keys, d).setZero();
    d_v.block(first_key, key_head * e, tile.keys, e).setZero();
  }

  TileReader<Scalar> k_reader, v_reader;
  TileScores<Scalar> scores, weights, d_scores, before;
  Eigen::Matrix<Scalar, Eigen::Dynamic, 1, 0, query_tile, 1> delta;
  for (tile.head = key_head * group; tile.head < (key_head + 1) * group; ++tile.head)
    for (tile.query_begin = 0; tile.query_begin < tile.queries; tile.query_begin = tile.query_end) {
      tile.query_end = std::min(tile.queries, tile.query_begin + query_tile);
      const Index n = tile.query_end - tile.query_begin;
      const Index row = first_query + tile.query_begin;
      const Strided<Scalar> queries = q.from(tile.head, row);
      const Strided<Scalar> d_result{d_out.data() + row * d_out.outerStride() + tile.head * e, d_out.outerStride(), 1};
      delta =
          (out.block(row, tile.head * e, n, e).array() * d_out.block(row, tile.head * e, n, e).array()).rowwise().sum();

      for (tile.key_begin = 0; tile.key_begin < tile.keys; tile.key_begin = tile.key_end) {
        tile.key_end = std::min(tile.keys, tile.key_begin + key_tile);
        const Visible visible = score.visible(tile);
        if (visible == Visible::none) continue;
        const bool partly_hidden = visible == Visible::some;
        const Index m = tile.key_end - tile.key_begin;
        const Strided<Scalar> keys = k_reader.read(k, layout, key_head, sequence, tile.key_begin, tile.key_end);
        const Strided<Scalar> values = v_reader.read(v, layout, key_head, sequence, tile.key_begin, tile.key_end);

        scores.resize(n, m);
        multiply_rows_by_rows(queries, keys, d, scores);
        scores *= scale;
        if constexpr (changes_values<S>()) before = scores;
        if (partly_hidden || changes_values<S>()) score.apply(tile, MatrixRef<Scalar>(scores));

        weights.resize(n, m);
        for (Index i = 0; i < n; ++i) {
          const Scalar lse = log_sum_exp(row + i, tile.head);
          if (lse == hidden_score<Scalar>) {
            weights.row(i).setZero();
            continue;
          }
          weights.row(i) = (scores.row(i).array() - lse).exp();
          if (partly_hidden)
            weights.row(i) = (scores.row(i).array() == hidden_score<Scalar>).select(Scalar(0), weights.row(i));
        }

        d_scores.resize(n, m);
        multiply_rows_by_rows(d_result, values, e, d_scores);
        if (dropout.active()) dropout.apply(tile, d_scores);
        d_scores.colwise() -= delta;
        d_scores.array() *= weights.array();
        // A hidden key's value may be infinite or undefined, and so its entry in dP.
        if (partly_hidden) d_scores = (scores.array() == hidden_score<Scalar>).select(Scalar(0), d_scores.array());
        if constexpr (changes_values<S>()) {
          score.apply_backward(tile, before, MatrixRef<Scalar>(d_scores));
          if (partly_hidden) d_scores = (scores.array() == hidden_score<Scalar>).select(Scalar(0), d_scores.array());
        }
        d_scores *= scale;

        if (dropout.active()) dropout.apply(tile, weights);
        const Index key = first_key + tile.key_begin;
        add_visible_product_transposed(weights, scores, partly_hidden, d_result, e,
                                       d_v.data() + key * d_v.outerStride() + key_head * e, d_v.outerStride());
        add_visible_product_transposed(d_scores, scores, partly_hidden, queries, d,
                                       d_k.data() + key * d_k.outerStride() + key_head * d, d_k.outerStride());
        add_visible_product(d_scores, scores, partly_hidden, keys, d, &d_q(row, tile.head * d), d_q.outerStride());
      }
    }
}

}  // namespace detail

/// Writes the gradients of attention_forward, given its arguments, its results and the gradient d_out.
///
///   d_q, d_k, d_v: shaped as q, k, v, row-major. Rows that attended to nothing, or that nothing attended to, get
///   zeros.
///
/// Throws if shapes do not fit, or if options.key_index is used: a cache has no gradient.
template <class Scalar, Score S>
void attention_backward(const TensorView<const Scalar, 2>& q, const TensorView<const Scalar, 2>& k,
                        const TensorView<const Scalar, 2>& v, const S& score, const AttentionOptions& options,
                        const ConstMatrixRef<Scalar>& out, const ConstMatrixRef<Scalar>& log_sum_exp,
                        const ConstMatrixRef<Scalar>& d_out, MatrixRef<Scalar> d_q, MatrixRef<Scalar> d_k,
                        MatrixRef<Scalar> d_v) {
  const auto shape_of = [](const TensorView<const Scalar, 2>& x) { return Shape{x.dimension(0), x.dimension(1)}; };
  const detail::AttentionLayout layout = detail::attention_layout(shape_of(q), shape_of(k), shape_of(v), options);
  check(options.key_index.empty(), "attention: key_index has no backward");
  const Shape result{q.dimension(0), layout.heads * layout.value_width};
  check_shape("attention", "out", shape(out), result);
  check_shape("attention", "d_out", shape(d_out), result);
  check_shape("attention", "log_sum_exp", shape(log_sum_exp), {q.dimension(0), layout.heads});
  check_shape("attention", "d_q", shape(d_q), shape_of(q));
  check_shape("attention", "d_k", shape(d_k), shape_of(k));
  check_shape("attention", "d_v", shape(d_v), shape_of(v));
  detail::check_covers(score, layout);
  const auto q_rows = detail::head_columns(q, layout.heads);
  const auto k_rows = detail::head_columns(k, layout.key_heads);
  const auto v_rows = detail::head_columns(v, layout.key_heads);
  const detail::AttentionDropout dropout(options.dropout, options.dropout_key);
  const Index grain = layout.key_rows.longest() > 2 * detail::key_tile ? 1 : 8;
  parallel_for(options.threads, layout.sequences() * layout.key_heads, grain, [&](Index begin, Index end) {
    for (Index i = begin; i < end; ++i)
      detail::attend_backward_head<Scalar>(layout, q_rows, k_rows, v_rows, score, dropout, i / layout.key_heads,
                                           i % layout.key_heads, out, log_sum_exp, d_out, d_q, d_k, d_v);
  });
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
