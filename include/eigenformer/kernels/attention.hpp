// Scaled dot-product attention: softmax(Q K^T / sqrt(d_k)) V (Vaswani et al. 2017, equation 1), over Eigen matrices.
#pragma once

#include "eigenformer/core/readable.hpp"
#include "eigenformer/kernels/attention_dropout.hpp"
#include "eigenformer/kernels/attention_layout.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

namespace detail {

// n = queries, m = keys, d = width of a key head, e = width of a value head.
//
// The scores are made a tile at a time and never kept: the softmax runs online (Milakov and Gimelshein 2018,
// arXiv 1805.02867; Dao et al. 2022, arXiv 2205.14135). For each query there is the largest score so far and the sum of
// exponentials relative to it; when a larger one comes, what was summed is scaled down.
template <class Scalar, Score S>
void attend_query_tile(const AttentionLayout& layout, const HeadRows<const Scalar>& q, const HeadRows<const Scalar>& k,
                       const HeadRows<const Scalar>& v, const S& score, const AttentionDropout& dropout, ScoreTile tile,
                       const HeadRows<Scalar>& out, Scalar* log_sum_exp) {
  using Column = Eigen::Matrix<Scalar, Eigen::Dynamic, 1, 0, query_tile, 1>;
  const Index n = tile.query_end - tile.query_begin;
  const Index first_row = tile.first_row + tile.query_begin;
  const Index key_head = layout.key_head(tile.head);
  const auto scale = static_cast<Scalar>(layout.scale);

  TileReader<Scalar> k_reader, v_reader;
  eigen_assert(out.col_stride == 1);
  Eigen::Map<Matrix<Scalar>, Eigen::Unaligned, Eigen::OuterStride<>> result(out.row(tile.head, first_row), n, out.width,
                                                                            Eigen::OuterStride<>(out.row_stride));
  result.setZero();
  Column largest = Column::Constant(n, hidden_score<Scalar>);
  Column sum = Column::Zero(n);
  TileScores<Scalar> scores;
  TileScores<Scalar> weights;

  for (tile.key_begin = 0; tile.key_begin < tile.keys; tile.key_begin = tile.key_end) {
    tile.key_end = std::min(tile.keys, tile.key_begin + key_tile);
    const Visible visible = score.visible(tile);
    if (visible == Visible::none) continue;
    const bool partly_hidden = visible == Visible::some;

    const Strided<Scalar> keys = k_reader.read(k, layout, key_head, tile.sequence, tile.key_begin, tile.key_end);
    scores.resize(n, tile.key_end - tile.key_begin);
    multiply_rows_by_rows(q.from(tile.head, first_row), keys, layout.key_width, scores);
    scores *= scale;
    if (partly_hidden || changes_values<S>()) score.apply(tile, MatrixRef<Scalar>(scores));

    weights.resize(n, scores.cols());
    for (Index i = 0; i < n; ++i) {
      const Scalar new_largest = std::max(largest[i], scores.row(i).maxCoeff());
      // Comparisons pass over NaN: a row of them must not be taken for one that sees nothing.
      if (new_largest == hidden_score<Scalar> && (scores.row(i).array() == hidden_score<Scalar>).all()) {
        weights.row(i).setZero();
        continue;
      }
      weights.row(i) = (scores.row(i).array() - new_largest).exp();
      if (partly_hidden)
        weights.row(i) = (scores.row(i).array() == hidden_score<Scalar>).select(Scalar(0), weights.row(i));
      if (new_largest > largest[i]) {
        const Scalar shrink = std::exp(largest[i] - new_largest);
        sum[i] *= shrink;
        result.row(i) *= shrink;
        largest[i] = new_largest;
      }
      sum[i] += weights.row(i).sum();
    }
    if (dropout.active()) dropout.apply(tile, weights);  // after the softmax: its sum has the dropped weights too
    const Strided<Scalar> values = v_reader.read(v, layout, key_head, tile.sequence, tile.key_begin, tile.key_end);
    add_visible_product(weights, scores, partly_hidden, values, out.width, out.row(tile.head, first_row),
                        out.row_stride);
  }

  for (Index i = 0; i < n; ++i) {
    if (sum[i] != 0) result.row(i) /= sum[i];  // else it saw nothing, and stays zero
    if (log_sum_exp != nullptr)
      log_sum_exp[(first_row + i) * layout.heads + tile.head] =
          sum[i] != 0 ? largest[i] + std::log(sum[i]) : hidden_score<Scalar>;
  }
}

/// Every query tile of every sequence and head is a task.
template <class Scalar, Score S>
void attend(const AttentionLayout& layout, const HeadRows<const Scalar>& q, const HeadRows<const Scalar>& k,
            const HeadRows<const Scalar>& v, const S& score, const AttentionDropout& dropout,
            const HeadRows<Scalar>& out, Scalar* log_sum_exp, Threads* threads) {
  check_covers(score, layout);
  std::vector<ScoreTile> tiles;
  for (Index s = 0; s < layout.sequences(); ++s)
    for (Index begin = 0; begin < layout.query_rows.length(s); begin += query_tile) {
      ScoreTile tile;
      tile.sequence = s;
      tile.first_row = layout.query_rows.begin(s);
      tile.queries = layout.query_rows.length(s);
      tile.keys = layout.key_rows.length(s);
      tile.query_begin = begin;
      tile.query_end = std::min(tile.queries, begin + query_tile);
      tiles.push_back(tile);
    }
  const auto count = static_cast<Index>(tiles.size());
  const Index grain =
      layout.key_rows.longest() > 2 * key_tile ? 1 : 16;  // short sequences: some 20 microseconds a task
  parallel_for(threads, count * layout.heads, grain, [&](Index begin, Index end) {
    for (Index i = begin; i < end; ++i) {
      ScoreTile tile = tiles[static_cast<std::size_t>(i % count)];
      tile.head = i / count;
      attend_query_tile<Scalar>(layout, q, k, v, score, dropout, tile, out, log_sum_exp);
    }
  });
}

}  // namespace detail

/// Writes the attention of q over k and v.
///
///   q: [queries x heads * d], k: [keys x key_heads * d], v: [keys x key_heads * e]   (any strides)
///   out: [queries x heads * e], log_sum_exp: [queries x heads], kept for the backward; a query that sees nothing has
///   minus infinity there, and zeros in out.
///
/// Scores are scaled, then `score` is applied, then softmax, then dropout. Throws if shapes, heads and offsets do not
/// fit; nothing is written then.
template <class Scalar, Score S>
void attention_forward(const TensorView<const Scalar, 2>& q, const TensorView<const Scalar, 2>& k,
                       const TensorView<const Scalar, 2>& v, const S& score, const AttentionOptions& options,
                       MatrixRef<Scalar> out, MatrixRef<Scalar> log_sum_exp) {
  const auto shape_of = [](const TensorView<const Scalar, 2>& x) { return Shape{x.dimension(0), x.dimension(1)}; };
  const detail::AttentionLayout layout = detail::attention_layout(shape_of(q), shape_of(k), shape_of(v), options);
  check_shape("attention", "out", shape(out), {q.dimension(0), layout.heads * layout.value_width});
  check_shape("attention", "log_sum_exp", shape(log_sum_exp), {q.dimension(0), layout.heads});
  check(log_sum_exp.outerStride() == layout.heads || log_sum_exp.rows() <= 1,
        "attention: log_sum_exp is a block, expected contiguous rows");
  const detail::HeadRows<Scalar> out_rows{out.data(), layout.value_width, out.outerStride(), 1, layout.value_width};
  detail::attend<Scalar>(layout, detail::head_columns(q, layout.heads), detail::head_columns(k, layout.key_heads),
                         detail::head_columns(v, layout.key_heads), score,
                         detail::AttentionDropout(options.dropout, options.dropout_key), out_rows, log_sum_exp.data(),
                         options.threads);
}

/// The attention of q over k and v: [queries x heads * value width].
///
///   Matrix<float> y = attention(q, k, v, Causal{}, {.heads = 8});
///
/// q, k, v: any Eigen matrices, maps, blocks or transposes, read where they lie, or expressions, evaluated once.
/// See AttentionOptions for heads, grouped heads and ragged batches.
template <class Q, class K, class V, Score S>
Matrix<typename Q::Scalar> attention(const Eigen::MatrixBase<Q>& q, const Eigen::MatrixBase<K>& k,
                                     const Eigen::MatrixBase<V>& v, const S& score,
                                     const AttentionOptions& options = {}) {
  using Scalar = typename Q::Scalar;
  static_assert(std::is_floating_point_v<Scalar>, "attention runs on float or double");
  static_assert(std::is_same_v<Scalar, typename K::Scalar> && std::is_same_v<Scalar, typename V::Scalar>,
                "attention: q, k and v have one scalar type");
  const detail::AttentionLayout layout = detail::attention_layout(shape(q), shape(k), shape(v), options);
  const Readable<Q> q_rows(q);
  const Readable<K> k_rows(k);
  const Readable<V> v_rows(v);
  Matrix<Scalar> out(q.rows(), layout.heads * layout.value_width);
  const detail::HeadRows<Scalar> out_rows{out.data(), layout.value_width, out.outerStride(), 1, layout.value_width};
  detail::attend<Scalar>(
      layout, detail::head_columns(q_rows.view(), layout.heads), detail::head_columns(k_rows.view(), layout.key_heads),
      detail::head_columns(v_rows.view(), layout.key_heads), score,
      detail::AttentionDropout(options.dropout, options.dropout_key), out_rows, nullptr, options.threads);
  return out;
}

/// The same where every query sees every key: `attention(q, k, v, {.heads = 8})`.
template <class Q, class K, class V>
Matrix<typename Q::Scalar> attention(const Eigen::MatrixBase<Q>& q, const Eigen::MatrixBase<K>& k,
                                     const Eigen::MatrixBase<V>& v, const AttentionOptions& options = {}) {
  return attention(q, k, v, Unmasked{}, options);
}

/// Attention over tensors [batch x heads x tokens x width] in any order of strides, as they lie. The number of heads is
/// the tensors' own: of `options`, only scale, dropout and threads are read. k and v may have fewer heads than q.
template <class Scalar, Score S = Unmasked>
Tensor<std::remove_const_t<Scalar>, 4> attention(const TensorView<Scalar, 4>& q, const TensorView<Scalar, 4>& k,
                                                 const TensorView<Scalar, 4>& v, const S& score = {},
                                                 AttentionOptions options = {}) {
  using Value = std::remove_const_t<Scalar>;
  check(q.dimension(0) == k.dimension(0) && k.dimension(0) == v.dimension(0), "attention: q has a batch of ",
        q.dimension(0), ", k of ", k.dimension(0), ", v of ", v.dimension(0));
  check(k.dimension(1) == v.dimension(1), "attention: k has ", k.dimension(1), " heads, v has ", v.dimension(1));
  options.heads = q.dimension(1);
  options.key_heads = k.dimension(1);
  options.query_rows = {};
  options.key_rows = {};
  options.key_index = {};
  const auto matrix_shape = [](const TensorView<Scalar, 4>& x) {
    return Shape{x.dimension(2), x.dimension(1) * x.dimension(3)};
  };
  const detail::AttentionLayout layout =
      detail::attention_layout(matrix_shape(q), matrix_shape(k), matrix_shape(v), options);
  Tensor<Value, 4> out({q.dimension(0), q.dimension(1), q.dimension(2), v.dimension(3)});
  const auto rows_of = [](const auto& x, Index b) {
    return detail::HeadRows<std::remove_pointer_t<decltype(x.data())>>{x.data() + b * x.stride(0), x.stride(1),
                                                                       x.stride(2), x.stride(3), x.dimension(3)};
  };
  const auto read_rows = [&](const TensorView<Scalar, 4>& x, Index b) {
    return rows_of(TensorView<const Value, 4>(x), b);
  };
  for (Index b = 0; b < q.dimension(0); ++b)
    detail::attend<Value>(
        layout, read_rows(q, b), read_rows(k, b), read_rows(v, b), score,
        detail::AttentionDropout(options.dropout,
                                 {options.dropout_key.key, options.dropout_key.stream + static_cast<std::uint64_t>(b)}),
        rows_of(out.view(), b), static_cast<Value*>(nullptr), options.threads);
  return out;
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
