// The scores of attention and its weights, softmax(Q K^T / sqrt(d_k)), for those who want to look at them.
#pragma once

#include "eigenformer/kernels/attention.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

namespace detail {

/// Calls body(tile, scores) for every sequence and head that has queries and keys, where scores
/// [queries x keys] is a matrix of its own: what softmax would get. In parallel.
template <class Q, class K, Score S, class Body>
void for_each_score_matrix(const Eigen::MatrixBase<Q>& q, const Eigen::MatrixBase<K>& k, const S& score,
                           const AttentionLayout& layout, Threads* threads, Body&& body) {
  using Scalar = typename Q::Scalar;
  check_covers(score, layout);
  const Readable<Q> q_view(q);
  const Readable<K> k_view(k);
  const auto q_rows = head_columns(q_view.view(), layout.heads);
  const auto k_rows = head_columns(k_view.view(), layout.key_heads);
  const Index sequences = layout.sequences();
  parallel_for(threads, layout.heads * sequences, 1, [&](Index i, Index) {
    ScoreTile tile;
    tile.head = i / sequences;
    tile.sequence = i % sequences;
    tile.first_row = layout.query_rows.begin(tile.sequence);
    tile.query_end = tile.queries = layout.query_rows.length(tile.sequence);
    tile.key_end = tile.keys = layout.key_rows.length(tile.sequence);
    if (tile.queries == 0 || tile.keys == 0) return;
    TileReader<Scalar> reader;
    const Strided<Scalar> keys = reader.read(k_rows, layout, layout.key_head(tile.head), tile);
    Eigen::Matrix<Scalar, Eigen::Dynamic, Eigen::Dynamic> scores(tile.queries, tile.keys);
    const Strided<Scalar> queries = q_rows.from(tile.head, tile.first_row);
    multiply_block<Scalar>(tile.keys, tile.queries, layout.key_width, keys, transposed(queries), {nullptr, 0},
                           {scores.data(), tile.queries});
    scores *= static_cast<Scalar>(layout.scale);
    ScoreBlock<Scalar> view(scores.data(), tile.queries, tile.keys, Eigen::OuterStride<>(tile.queries));
    if (score.visible(tile) != Visible::all || changes_values<S>) score.apply(tile, view);
    body(tile, scores);
  });
}

}  // namespace detail

/// The scores that softmax gets, [heads x query rows x keys of the longest sequence]: Q K^T / sqrt(d_k), then `score`.
/// Minus infinity where something is hidden, and beyond a sequence's keys.
///
/// What a score does in steps is seen by giving only the first of them: ONNX's qk_matmul_output_mode 0 is Unmasked{},
/// mode 1 the SoftCap, mode 2 all of it, and mode 3 attention_weights.
template <class Q, class K, Score S>
Tensor<typename Q::Scalar, 3> attention_scores(const Eigen::MatrixBase<Q>& q, const Eigen::MatrixBase<K>& k,
                                               const S& score, const AttentionOptions& options = {}) {
  using Scalar = typename Q::Scalar;
  const detail::AttentionLayout layout = detail::attention_layout(shape(q), shape(k), shape(k), options);
  Tensor<Scalar, 3> result({layout.heads, q.rows(), layout.key_rows.longest()});
  std::fill_n(result.data(), result.size(), hidden_score<Scalar>);
  detail::for_each_score_matrix(q, k, score, layout, options.threads, [&](const ScoreTile& tile, const auto& scores) {
    result.matrix(tile.head).block(tile.first_row, 0, tile.queries, tile.keys) = scores;
  });
  return result;
}

/// The attention weights [heads x query rows x keys of the longest sequence]: this is the n x n matrix that attention()
/// never makes. A query's row ends in zeros where its sequence has fewer keys; one that sees nothing is all zeros.
/// Dropout is left out: these are the weights, not a sample of them.
template <class Q, class K, Score S>
Tensor<typename Q::Scalar, 3> attention_weights(const Eigen::MatrixBase<Q>& q, const Eigen::MatrixBase<K>& k,
                                                const S& score, const AttentionOptions& options = {}) {
  using Scalar = typename Q::Scalar;
  const detail::AttentionLayout layout = detail::attention_layout(shape(q), shape(k), shape(k), options);
  Tensor<Scalar, 3> weights({layout.heads, q.rows(), layout.key_rows.longest()});
  detail::for_each_score_matrix(q, k, score, layout, options.threads, [&](const ScoreTile& tile, const auto& scores) {
    auto result = weights.matrix(tile.head);
    for (Index r = 0; r < tile.queries; ++r) {
      const Scalar largest = scores.row(r).maxCoeff();
      // Comparisons pass over NaN: a row of them must not be taken for one that sees nothing.
      if (largest == hidden_score<Scalar> && (scores.row(r).array() == hidden_score<Scalar>).all()) continue;
      auto row = result.row(tile.first_row + r).head(tile.keys);
      row = (scores.row(r).array() == hidden_score<Scalar>).select(Scalar(0), (scores.row(r).array() - largest).exp());
      row /= row.sum();
    }
  });
  return weights;
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
