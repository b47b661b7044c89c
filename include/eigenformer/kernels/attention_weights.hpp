// The weights of attention, softmax(Q K^T / sqrt(d_k)), for those who want to look at them.
#pragma once

#include "eigenformer/kernels/attention.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// The attention weights [heads x query rows x keys of the longest sequence]: this is the n x n matrix that attention()
/// never makes. A query's row ends in zeros where its sequence has fewer keys; one that sees nothing is all zeros.
/// Dropout is left out: these are the weights, not a sample of them.
template <class Q, class K, Score S>
Tensor<typename Q::Scalar, 3> attention_weights(const Eigen::MatrixBase<Q>& q, const Eigen::MatrixBase<K>& k,
                                                const S& score, const AttentionOptions& options = {}) {
  using Scalar = typename Q::Scalar;
  const detail::AttentionLayout layout = detail::attention_layout(shape(q), shape(k), shape(k), options);
  detail::check_covers(score, layout);
  const Readable<Q> q_view(q);
  const Readable<K> k_view(k);
  const auto q_rows = detail::head_columns(q_view.view(), layout.heads);
  const auto k_rows = detail::head_columns(k_view.view(), layout.key_heads);
  Tensor<Scalar, 3> weights({layout.heads, q.rows(), layout.key_rows.longest()});
  const Index sequences = layout.sequences();
  parallel_for(options.threads, layout.heads * sequences, 1, [&](Index i, Index) {
    ScoreTile tile;
    tile.head = i / sequences;
    tile.sequence = i % sequences;
    tile.first_row = layout.query_rows.begin(tile.sequence);
    tile.query_end = tile.queries = layout.query_rows.length(tile.sequence);
    tile.key_end = tile.keys = layout.key_rows.length(tile.sequence);
    if (tile.queries == 0 || tile.keys == 0) return;
    const Visible visible = score.visible(tile);
    if (visible == Visible::none) return;
    detail::TileReader<Scalar> reader;
    const detail::Strided<Scalar> keys =
        reader.read(k_rows, layout, layout.key_head(tile.head), tile.sequence, 0, tile.keys);
    Eigen::Matrix<Scalar, Eigen::Dynamic, Eigen::Dynamic> scores(tile.queries, tile.keys);
    const detail::Strided<Scalar> queries = q_rows.from(tile.head, tile.first_row);
    detail::multiply_block<Scalar>(tile.keys, tile.queries, layout.key_width, keys, detail::transposed(queries),
                                   {nullptr, 0}, {scores.data(), tile.queries});
    scores *= static_cast<Scalar>(layout.scale);
    ScoreBlock<Scalar> view(scores.data(), tile.queries, tile.keys, Eigen::OuterStride<>(tile.queries));
    if (visible == Visible::some || detail::changes_values<S>) score.apply(tile, view);
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
