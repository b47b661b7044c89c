// The derivative of attention.
//
// With S the scaled scores, S' = apply(S), P = softmax(S'), D the dropout mask over its keep probability and
// O = (P * D) V, where * is entry by entry:
//
//   dV = (P * D)^T dO                      dP = (dO V^T) * D
//   dS' = P * (dP - rowsum(P * dP))        rowsum(P * dP) = rowsum(O * dO)
//   dQ = scale dS K                        dK = scale dS^T Q          dS: dS' through the derivative of apply
//
// P is made again from Q, K and the log-sum-exp, a tile of queries and keys at a time: see backward_tile.hpp.
#pragma once

#include "eigenformer/kernels/attention.hpp"
#include "eigenformer/kernels/detail/attention/backward_tile.hpp"
#include "eigenformer/kernels/detail/attention/key_chunk.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

namespace detail {

/// Keys whose parts of a query's gradient are summed before they are added to the other keys'.
inline constexpr Index backward_keys = 512;

/// Keys of one task where nothing asks for fewer: the more of them, the less often queries are made ready, but they,
/// their values and the gradients of both, which every tile of queries reads and writes, should stay in a core's own
/// cache, of which this takes one megabyte. (attention_bench, d = 64, with AVX-512: n = 8192, 89 % of the peak with
/// 2048 keys, 86 with 512, where caches behind it are fast. On a Xeon where they are not, n = 2048, times the speed of
/// 2048 keys: d = 64, 1.03 with 1024 and 1.02 with 512; d = 128, 1.02 and 1.04; d = 32, 0.99 and 0.99.)
template <class Scalar>
Index many_backward_keys(const AttentionLayout& layout) {
  const Index key_size = 2 * (layout.key_width + layout.value_width) * static_cast<Index>(sizeof(Scalar));
  return std::clamp<Index>((Index(1) << 20) / (std::max<Index>(key_size, 1) * backward_keys), 1, 4) * backward_keys;
}

/// The keys from `begin` to `end` of one sequence and key head: adds their part to the gradients of its queries, and
/// makes their own and their values' gradients.
template <class Scalar, Score S>
void attend_backward_keys(const AttentionLayout& layout, const BackwardRows<Scalar>& rows, const S& score,
                          const AttentionDropout& dropout, Index sequence, Index key_head, Index begin, Index end) {
  const Index group = layout.group();
  ScoreTile tile;
  tile.sequence = sequence;
  tile.first_row = layout.query_rows.begin(sequence);
  tile.queries = layout.query_rows.length(sequence);
  tile.keys = layout.key_rows.length(sequence);
  tile.key_begin = begin;
  tile.key_end = end;

  KeyChunk<Scalar> chunk(layout, rows, key_head, tile);
  BackwardTile<Scalar, !changes_values<S>, kept_blocks<S>()> queries(layout.key_width, layout.value_width);
  const auto is_seen = [&](Index key_begin, Index key_end) {
    tile.key_begin = key_begin;
    tile.key_end = key_end;
    return score.visible(tile) != Visible::none;
  };
  const Index blocks = query_blocks<Scalar>(tile.queries), together = queries.capacity() / queries.n;
  for (tile.head = key_head * group; tile.head < (key_head + 1) * group; ++tile.head)
    for (Index block = 0; block < blocks; block += together) {
      const Index query = query_block_begin<Scalar>(tile.queries, block);
      tile.query_begin = query;
      tile.query_end = query_block_begin<Scalar>(tile.queries, std::min<Index>(blocks, block + together));
      if (!is_seen(begin, end)) continue;
      queries.load(rows, tile, layout.scale);
      for (Index unit = begin; unit < end; unit += backward_keys) {
        const Index unit_end = std::min<Index>(end, unit + backward_keys);
        if (!is_seen(unit, unit_end)) continue;
        queries.clear_d_q();
        for (tile.key_begin = unit; tile.key_begin < unit_end; tile.key_begin = tile.key_end) {
          tile.key_end = std::min<Index>(unit_end, tile.key_begin + queries.key_capacity);
          for (const TilePart& part : TileParts<Scalar, queries.stride>(score, tile)) {
            const bool partly_hidden = part.seen == Visible::some;
            queries.add(score, dropout, part.tile, part.tile.query_begin - query, partly_hidden,
                        chunk.from(part.tile.key_begin - begin, partly_hidden || changes_values<S>));
          }
        }
        queries.add_d_q({rows.d_q.row(tile.head, tile.first_row + query), rows.d_q.row_stride});
      }
    }
  chunk.finish();
}

/// Tasks are chunks of keys. Those of different chunks add to the same queries' gradients: one chunk's after the
/// other's; or, where there are too few sequences and heads to share among threads, each to a matrix of its own, which
/// are added in the same order. Chunks of either are whole units of backward_keys, which are added one by one. So sums
/// are the same for any number of threads.
template <class Scalar, Score S>
void attend_backward(const AttentionLayout& layout, const BackwardRows<Scalar>& rows, const S& score,
                     const AttentionDropout& dropout, Threads* threads) {
  constexpr bool by_head = sequences_share_gradient<S>();
  const Index heads = layout.sequences() * layout.key_heads;
  const Index longest = layout.key_rows.longest();
  const bool shares_keys = threads != nullptr && heads < 8;
  // A gradient that sequences share is summed in the order of queries and keys, which must not depend on the threads.
  const Index chunk_keys = shares_keys || by_head ? backward_keys : many_backward_keys<Scalar>(layout);
  const Index chunks = (longest + chunk_keys - 1) / chunk_keys;
  const Index together = shares_keys ? std::clamp<Index>(chunks, 1, 8) : 1;
  std::vector<Matrix<Scalar>> partial(static_cast<std::size_t>(together - 1));
  const Index query_rows = layout.query_rows.rows(), width = layout.heads * layout.key_width;
  const auto d_q_row = [&](Index row) { return Eigen::Map<Matrix<Scalar>>(rows.d_q.row(0, row), 1, width); };
  for (Index row = 0; row < query_rows; ++row) d_q_row(row).setZero();

  // Tasks that add to one gradient of the score's are one task, which does them in order.
  const Index parts = layout.sequences() * together;
  Index grain = longest > 128 ? 1 : 8;
  if (by_head) grain = parts;
  if (heads_share_gradient<S>()) grain = by_head ? parts * layout.key_heads : layout.key_heads;
  for (Index first = 0; first < chunks; first += together) {
    for (Matrix<Scalar>& d_q : partial) d_q.setZero(query_rows, width);
    parallel_for(threads, parts * layout.key_heads, grain, [&](Index begin, Index end) {
      for (Index i = begin; i < end; ++i) {
        const Index key_head = by_head ? i / parts : i % layout.key_heads;
        const Index part = by_head ? i % parts : i / layout.key_heads;
        const Index sequence = part % layout.sequences(), chunk = part / layout.sequences();
        const Index key = (first + chunk) * chunk_keys, keys = layout.key_rows.length(sequence);
        if (key >= keys) continue;
        BackwardRows<Scalar> own = rows;
        if (chunk > 0) {
          Matrix<Scalar>& d_q = partial[static_cast<std::size_t>(chunk - 1)];
          own.d_q = {d_q.data(), layout.key_width, width, 1, layout.key_width};
        }
        attend_backward_keys<Scalar>(layout, own, score, dropout, sequence, key_head, key,
                                     std::min<Index>(keys, key + chunk_keys));
      }
    });
    for (const Matrix<Scalar>& d_q : partial)
      for (Index row = 0; row < query_rows; ++row) d_q_row(row) += d_q.row(row);
  }
}

EIGENFORMER_FLOAT(void attend_backward(const AttentionLayout&, const BackwardRows<float>&, const Unmasked&,
                                       const AttentionDropout&, Threads*));
EIGENFORMER_DOUBLE(void attend_backward(const AttentionLayout&, const BackwardRows<double>&, const Unmasked&,
                                        const AttentionDropout&, Threads*));
EIGENFORMER_FLOAT(void attend_backward(const AttentionLayout&, const BackwardRows<float>&, const Causal&,
                                       const AttentionDropout&, Threads*));
EIGENFORMER_DOUBLE(void attend_backward(const AttentionLayout&, const BackwardRows<double>&, const Causal&,
                                        const AttentionDropout&, Threads*));
EIGENFORMER_FLOAT(void attend_backward(const AttentionLayout&, const BackwardRows<float>&,
                                       const ScoreOfKind<float, ScoreKind{}>&, const AttentionDropout&, Threads*));
EIGENFORMER_FLOAT(void attend_backward(const AttentionLayout&, const BackwardRows<float>&,
                                       const ScoreOfKind<float, ScoreKind{true}>&, const AttentionDropout&, Threads*));
EIGENFORMER_FLOAT(void attend_backward(const AttentionLayout&, const BackwardRows<float>&,
                                       const ScoreOfKind<float, ScoreKind{true, false, 2}>&, const AttentionDropout&,
                                       Threads*));
EIGENFORMER_DOUBLE(void attend_backward(const AttentionLayout&, const BackwardRows<double>&,
                                        const ScoreOfKind<double, ScoreKind{}>&, const AttentionDropout&, Threads*));
EIGENFORMER_DOUBLE(void attend_backward(const AttentionLayout&, const BackwardRows<double>&,
                                        const ScoreOfKind<double, ScoreKind{true}>&, const AttentionDropout&,
                                        Threads*));
EIGENFORMER_DOUBLE(void attend_backward(const AttentionLayout&, const BackwardRows<double>&,
                                        const ScoreOfKind<double, ScoreKind{true, false, 2}>&, const AttentionDropout&,
                                        Threads*));

}  // namespace detail

/// Writes the gradients of attention_forward, given its arguments, its results and the gradient d_out.
///
///   d_q, d_k, d_v: shaped as q, k, v, row-major. Rows that attended to nothing, or that nothing attended to, get
///   zeros.
///
/// Throws if shapes do not fit, or if options.key_index is given: a cache has no gradient.
template <class Scalar, class S>
void attention_backward(const TensorView<const Scalar, 2>& q, const TensorView<const Scalar, 2>& k,
                        const TensorView<const Scalar, 2>& v, const S& score, const AttentionOptions& options,
                        const ConstMatrixRef<Scalar>& out, const ConstMatrixRef<Scalar>& log_sum_exp,
                        const ConstMatrixRef<Scalar>& d_out, MatrixRef<Scalar> d_q, MatrixRef<Scalar> d_k,
                        MatrixRef<Scalar> d_v) {
  const auto& checked = detail::differentiable_score<Scalar>(score);
  using Checked = std::remove_cvref_t<decltype(checked)>;
  const auto shape_of = [](const TensorView<const Scalar, 2>& x) { return Shape{x.dimension(0), x.dimension(1)}; };
  const detail::AttentionLayout layout = detail::attention_layout(shape_of(q), shape_of(k), shape_of(v), options);
  check(!options.key_index.has_value(), "attention: key_index has no backward");
  const Shape result{q.dimension(0), layout.heads * layout.value_width};
  check_shape("attention", "out", shape(out), result);
  check_shape("attention", "d_out", shape(d_out), result);
  check_shape("attention", "log_sum_exp", shape(log_sum_exp), {q.dimension(0), layout.heads});
  check_shape("attention", "d_q", shape(d_q), shape_of(q));
  check_shape("attention", "d_k", shape(d_k), shape_of(k));
  check_shape("attention", "d_v", shape(d_v), shape_of(v));
  detail::check_covers(checked, detail::whole_batch(layout));
  const detail::BackwardRows<Scalar> rows{detail::head_columns(q, layout.heads),
                                          detail::head_columns(k, layout.key_heads),
                                          detail::head_columns(v, layout.key_heads),
                                          detail::head_columns(strided_view(out), layout.heads),
                                          detail::head_columns(strided_view(d_out), layout.heads),
                                          log_sum_exp,
                                          detail::head_columns(d_q, layout.heads),
                                          detail::head_columns(d_k, layout.key_heads),
                                          detail::head_columns(d_v, layout.key_heads)};
  detail::attend_backward<Scalar>(layout, rows,
                                  detail::for_kernel<Scalar, detail::kind_of_backward<Checked, Scalar>>(checked),
                                  detail::AttentionDropout(options.dropout, options.dropout_key), options.threads);
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
