// Relative positions on the values: attention weights summed by the distance of their key (Shaw et al. 2018, arXiv
// 1803.02155, equation 3).
//
// The result sum_j a_ij (v_j + aV_clip(j - i)) equals plain attention plus sum_r w_ir aV_r. Here w_ir is the sum of the
// a_ij with clip(j - i) = r.
#pragma once

#include <span>

#include "eigenformer/kernels/attention_weights.hpp"
#include "eigenformer/kernels/detail/attention/score_gradients.hpp"
#include "eigenformer/kernels/scores/relative_keys.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// The outputs of the backward of weights by distance, shaped like q and k.
template <class Scalar>
struct WeightsByDistanceGradients {
  MatrixRef<Scalar> d_q;
  MatrixRef<Scalar> d_k;
  std::span<double> d_sinks{};  // one per query head, to which the sinks' gradients are added; empty: not wanted
};

namespace detail {

/// Returns a RelativeKeys score with the terms w [query rows x heads * distances]. `apply` adds w to scores;
/// `apply_backward` sums scores into d_w, unless d_w is null. The last query of a sequence is at its last key.
template <class Scalar>
RelativeKeys<Scalar> by_distance(const AttentionLayout& layout, const Scalar* w, Index cols, Scalar* d_w) {
  const Sizes shape{layout.query_rows.rows(), layout.heads, cols / layout.heads};
  const TensorView<Scalar> gathered = d_w == nullptr ? TensorView<Scalar>() : TensorView<Scalar>(d_w, shape);
  return RelativeKeys<Scalar>(TensorView<const Scalar>(w, shape), gathered).after_past();
}

inline void check_weights_by_distance(const char* name, Shape w, Index stride, const AttentionLayout& layout) {
  const Index distances = w.cols / layout.heads;
  check(w.rows == layout.query_rows.rows() && distances * layout.heads == w.cols && distances % 2 == 1 && distances > 1,
        "weights_by_distance: ", name, " is ", w, ", expected ", layout.query_rows.rows(), " rows and ", layout.heads,
        " * (2n + 1) columns, for an n of 1 or more");
  check(stride == w.cols || w.rows <= 1, "weights_by_distance: ", name,
        " is a block, expected a matrix without gaps between its rows");
}

/// Writes the sums of weights, for a score of any type. Throws as the public function does.
template <class Scalar>
void weights_by_distance_forward(const ConstMatrixRef<Scalar>& q, const ConstMatrixRef<Scalar>& k,
                                 const ErasedScore<Scalar>& score, const AttentionOptions& options,
                                 MatrixRef<Scalar>& w) {
  const AttentionLayout layout = attention_layout(shape(q), shape(k), shape(k), options);
  check_weights_by_distance("w", shape(w), w.outerStride(), layout);
  score.check_covers(whole_batch(layout), layout.query_rows, layout.key_rows);
  const RelativeKeys<Scalar> sums = by_distance<Scalar>(layout, w.data(), w.cols(), w.data());
  const AttentionDropout dropout(options);
  w.setZero();
  for_each_score_matrix<Scalar>(layout, strided_view(q), strided_view(k), score, options.threads,
                                [&](const ScoreTile& tile, ScoreMatrix<Scalar>& scores) {
                                  weights_of_queries(layout, tile, scores);
                                  if (dropout.active()) dropout.apply(tile, scores.data(), 1, tile.queries);
                                  sums.apply_backward(tile, score_block(scores));
                                });
}

/// Returns the gradient of a head's sink from one sequence. weights: those of the keys; d_weights: their gradients. The
/// weight of the sink is 1 minus the sum of the keys' weights.
template <class Scalar>
double sink_gradient(const ScoreMatrix<Scalar>& weights, const ScoreMatrix<Scalar>& d_weights) {
  Eigen::ArrayXd sink = Eigen::ArrayXd::Ones(weights.rows()), change = Eigen::ArrayXd::Zero(weights.rows());
  for (Index j = 0; j < weights.cols(); ++j) {
    const Eigen::ArrayXd of_key = weights.col(j).array().template cast<double>();
    sink -= of_key;
    change -= of_key * d_weights.col(j).array().template cast<double>();
  }
  return (sink * change).sum();
}

/// Writes the gradients of q and k, and adds those of the sinks. Throws as the public function does.
template <class Scalar>
void weights_by_distance_backward(const ConstMatrixRef<Scalar>& q, const ConstMatrixRef<Scalar>& k,
                                  const ErasedScore<Scalar>& score, const AttentionOptions& options,
                                  const ConstMatrixRef<Scalar>& d_w, WeightsByDistanceGradients<Scalar>& to) {
  const AttentionLayout layout = attention_layout(shape(q), shape(k), shape(k), options);
  check(!options.key_index.has_value() && !options.key_pages.has_value(),
        "weights_by_distance: key_index and key_pages have no backward");
  check_weights_by_distance("d_w", shape(d_w), d_w.outerStride(), layout);
  check_shape("weights_by_distance", "d_q", shape(to.d_q), shape(q));
  check_shape("weights_by_distance", "d_k", shape(to.d_k), shape(k));
  check(to.d_sinks.empty() || to.d_sinks.size() == layout.sinks.size(), "weights_by_distance: ", to.d_sinks.size(),
        " gradients of sinks, expected ", layout.sinks.size());
  score.check_covers(whole_batch(layout), layout.query_rows, layout.key_rows);
  const QueryKeyRows<Scalar> rows{head_columns(strided_view(q), layout.heads),
                                  head_columns(strided_view(k), layout.key_heads), head_columns(to.d_q, layout.heads),
                                  head_columns(to.d_k, layout.key_heads)};
  const AttentionDropout dropout(options);
  to.d_q.setZero();
  to.d_k.setZero();
  const std::span<double> d_sinks = to.d_sinks;
  const RelativeKeys<Scalar> gradients = by_distance<Scalar>(layout, d_w.data(), d_w.cols(), nullptr);
  // Each iteration processes one key head of one sequence. Heads and sequences that add to the same gradient of the
  // score run in one call of the body, in order.
  const Index sequences = layout.sequences(), group = layout.group();
  Index grain = score.kind.sequences_share_gradient ? sequences : 1;
  if (score.kind.heads_share_gradient) grain = sequences * layout.key_heads;
  Eigen::MatrixXd sinks_of_sequences = Eigen::MatrixXd::Zero(d_sinks.empty() ? 0 : layout.heads, sequences);
  parallel_for(options.threads, sequences * layout.key_heads, grain, [&](Index begin, Index end) {
    for (Index task = begin; task < end; ++task)
      for (Index h = 0; h < group; ++h) {
        const ScoreTile tile = whole_tile(layout, task % sequences, task / sequences * group + h);
        if (tile.queries == 0 || tile.keys == 0) continue;
        const Strided<Scalar> keys = rows.k.from(task / sequences, layout.key_rows.begin(tile.sequence));
        ScoreMatrix<Scalar> scores = scaled_scores<Scalar>(layout, rows.q, keys, tile);
        ScoreMatrix<Scalar> saved(tile.queries, tile.keys * score.kind.saved_blocks);
        const ScoreBlock<Scalar> saved_block(saved.data(), tile.queries, tile.keys, Eigen::OuterStride<>(tile.queries));
        apply_to_all(score, tile, scores,
                     [&](ScoreBlock<Scalar> block) { score.apply_saving(tile, block, saved_block); });
        ScoreMatrix<Scalar> weights = scores;
        weights_of_queries(layout, tile, weights);
        ScoreMatrix<Scalar> d_scores = ScoreMatrix<Scalar>::Zero(tile.queries, tile.keys);
        gradients.apply(tile, score_block(d_scores));  // gradients of the weights
        if (dropout.active()) dropout.apply(tile, d_scores.data(), 1, tile.queries);
        if (!d_sinks.empty()) sinks_of_sequences(tile.head, tile.sequence) = sink_gradient(weights, d_scores);
        differentiate_softmax(weights, d_scores);
        score.differentiate(tile, saved_block, score_block(d_scores));
        clear_where_weights_are_zero(weights, d_scores);
        d_scores *= static_cast<Scalar>(layout.scale);
        add_score_gradients(layout, tile, scores, d_scores, rows);
      }
  });
  for (std::size_t head = 0; head < d_sinks.size(); ++head)
    for (Index s = 0; s < sequences; ++s) d_sinks[head] += sinks_of_sequences(static_cast<Index>(head), s);
}

}  // namespace detail

/// Writes sums of attention weights, after dropout. w(row of query i, head * (2n + 1) + n + r) is the sum of query i's
/// weights over all keys j with clip(j - i) = r, where clip(x) = max(-n, min(x, n)).
///
///   q: [queries x heads * d], k: [keys x key_heads * d], w: [queries x heads * (2n + 1)] for any n >= 1
///
/// Pass the score and the options of the attention. The last query of a sequence is at its last key. Unlike attention,
/// this holds all scores of a sequence and head at once: [queries x keys] per thread. Throws if shapes do not fit,
/// before it writes.
template <class Scalar, class S>
void weights_by_distance_forward(const ConstMatrixRef<Scalar>& q, const ConstMatrixRef<Scalar>& k, const S& score,
                                 const AttentionOptions& options, MatrixRef<Scalar> w) {
  const auto& checked = detail::checked_score<Scalar>(score);
  detail::weights_by_distance_forward<Scalar>(q, k, detail::ErasedScore<Scalar>(checked, std::false_type{}), options,
                                              w);
}

/// Writes the gradients of q and k. d_w: [queries x heads * (2n + 1)]. Also adds the gradients of the sinks to
/// to.d_sinks, unless it is empty, and the score's gradients of its own parameters, if any. Throws, before it writes,
/// if shapes do not fit or options has key_index or key_pages.
template <class Scalar, class S>
void weights_by_distance_backward(const ConstMatrixRef<Scalar>& q, const ConstMatrixRef<Scalar>& k, const S& score,
                                  const AttentionOptions& options, const ConstMatrixRef<Scalar>& d_w,
                                  WeightsByDistanceGradients<Scalar> to) {
  const auto& checked = detail::differentiable_score<Scalar>(score);
  detail::weights_by_distance_backward<Scalar>(q, k, detail::ErasedScore<Scalar>(checked, std::true_type{}), options,
                                               d_w, to);
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
