// Splits attention's derivative into tasks.
#pragma once

#include <type_traits>
#include <vector>

#include "eigenformer/core/function_ref.hpp"
#include "eigenformer/kernels/detail/attention/backward_tile.hpp"
#include "eigenformer/kernels/detail/attention/erased_score.hpp"
#include "eigenformer/kernels/detail/attention/key_chunk.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

/// Keys per unit. Contributions to a query's gradient are first summed within a unit; then the units are added.
inline constexpr Index backward_keys = 512;

/// Returns the default number of keys per task. The more keys per task, the less often queries are prepared. But every
/// tile of queries reads the task's keys and values, and adds to their gradients. All of these should stay in a core's
/// own cache, so a task of more than one unit takes at most 1 MB.
/// Measured: attention_bench, d = 64, AVX-512 with fast shared caches, n = 8192: 89 % of the peak with 2048 keys, 86 %
/// with 512.
/// Measured: Xeon with slower shared caches, n = 2048, times the speed of 2048 keys:
/// - d = 64: 1.03 with 1024 keys, 1.02 with 512;
/// - d = 128: 1.02 with 1024 keys, 1.04 with 512;
/// - d = 32: 0.99 with 1024 keys, 0.99 with 512.
template <class Scalar>
Index many_backward_keys(const AttentionLayout& layout) {
  const Index key_size = 2 * (layout.key_width + layout.value_width) * static_cast<Index>(sizeof(Scalar));
  return std::clamp<Index>((Index(1) << 20) / (std::max<Index>(key_size, 1) * backward_keys), 1, 4) * backward_keys;
}

/// One task: the keys [begin, end) of one sequence and key head.
struct BackwardTask {
  Index sequence;
  Index key_head;
  Index begin, end;
};

/// Returns the tile of a task's keys, without its head and queries.
inline ScoreTile tile_of(const AttentionLayout& layout, const BackwardTask& task) {
  ScoreTile tile;
  tile.sequence = task.sequence;
  tile.first_row = layout.query_rows.begin(task.sequence);
  tile.queries = layout.query_rows.length(task.sequence);
  tile.keys = layout.key_rows.length(task.sequence);
  tile.key_begin = task.begin;
  tile.key_end = task.end;
  return tile;
}

/// Sets the keys of a tile to `begin` to `end` - 1. Returns whether its queries may see any of them.
template <Score S>
bool set_keys(const S& score, ScoreTile& tile, Index begin, Index end) {
  tile.key_begin = begin;
  tile.key_end = end;
  return score.visible(tile) != Visible::none;
}

/// Runs one task. Adds the contributions of its keys to the gradients of the sequence's queries, and writes the
/// gradients of its keys and values.
template <class Scalar, Score S>
void attend_backward(const BackwardCall<Scalar, S>& call, const BackwardTask& task) {
  const AttentionLayout& layout = call.layout;
  const Index group = layout.group();
  ScoreTile tile = tile_of(layout, task);

  KeyChunk<Scalar> chunk(layout, call.rows, task.key_head, tile);
  BackwardTile<Scalar, BackwardCall<Scalar, S>::in_base_2, ScoreTraits<S>::saved_blocks> queries(layout);
  const Index blocks = query_blocks<Scalar>(tile.queries), together = queries.capacity() / queries.n;
  for (tile.head = task.key_head * group; tile.head < (task.key_head + 1) * group; ++tile.head)
    for (Index block = 0; block < blocks; block += together) {
      const Index query = query_block_begin<Scalar>(tile.queries, block);
      tile.query_begin = query;
      tile.query_end = query_block_begin<Scalar>(tile.queries, std::min<Index>(blocks, block + together));
      if (!set_keys(call.score, tile, task.begin, task.end)) continue;
      queries.load(call.rows, tile, layout.scale);
      for (Index unit = task.begin; unit < task.end; unit += backward_keys) {
        const Index unit_end = std::min<Index>(task.end, unit + backward_keys);
        if (!set_keys(call.score, tile, unit, unit_end)) continue;
        queries.clear_d_q();
        for (tile.key_begin = unit; tile.key_begin < unit_end; tile.key_begin = tile.key_end) {
          tile.key_end = std::min<Index>(unit_end, tile.key_begin + queries.key_capacity);
          for (const TilePart& part : TileParts<Scalar, queries.stride>(call.score, tile))
            queries.add(call, part, part.tile.query_begin - query,
                        chunk.rows(part.seen == Visible::some || ScoreTraits<S>::changes_values)
                            .from_row(part.tile.key_begin - task.begin));
        }
        queries.add_d_q(
            {call.rows.d_q.of(tile.sequence).row(tile.head, tile.first_row + query), call.rows.d_q.row_stride});
      }
    }
  chunk.finish();
}

/// Runs all tasks of a call, in parallel: calls run(rows, task), where `rows` are the call's, or have their own d_q.
///
/// A task is a chunk of keys, so tasks of different chunks add to the gradients of the same queries. Usually one chunk
/// runs after the other. With threads, and fewer than eight pairs of a sequence and a key head, several chunks run in
/// parallel. Each but the first then sums into its own matrix, and the matrices are added in the order of the chunks.
/// These chunks are single units of backward_keys. Chunks that run one after the other may have several units, but add
/// them one by one, in the same order. So results are the same for any number of threads.
template <class Scalar>
void for_each_backward_task(
    const AttentionLayout& layout, const BackwardRows<Scalar>& rows, SharedGradients shared, Threads* threads,
    std::type_identity_t<FunctionRef<void(const BackwardRows<Scalar>&, const BackwardTask&)>> run) {
  const Index heads = layout.sequences() * layout.key_heads;
  const Index longest = layout.key_rows.max_length();
  const bool in_order = shared.by_heads && shared.by_sequences;  // all tasks add to one gradient
  const bool shares_keys = threads != nullptr && heads < 8 && !in_order;
  // If sequences share a gradient of the score, it is summed in the order of queries and keys. Chunks determine that
  // order, so their size must not depend on the threads.
  const Index chunk_keys = shares_keys || shared.by_sequences ? backward_keys : many_backward_keys<Scalar>(layout);
  const Index chunks = (longest + chunk_keys - 1) / chunk_keys;
  const Index together = shares_keys ? std::clamp<Index>(chunks, 1, 8) : 1;
  std::vector<Matrix<Scalar>> partial(static_cast<std::size_t>(together - 1));
  const Index query_rows = layout.query_rows.rows(), width = layout.heads * layout.key_width;
  // Calls body(the row of d_q, the columns that it has in a matrix) for each query and head.
  const auto for_each_d_q_row = [&](const auto& body) {
    for (Index s = 0; s < layout.sequences(); ++s)
      for (Index row = layout.query_rows.begin(s); row < layout.query_rows.end(s); ++row)
        for (Index head = 0; head < layout.heads; ++head)
          body(Eigen::Map<Matrix<Scalar>>(rows.d_q.of(s).row(head, row), 1, layout.key_width), row,
               head * layout.key_width);
  };
  for_each_d_q_row([](auto d_q, Index, Index) { d_q.setZero(); });

  // Tasks that add to the same gradient of the score run as one task, in order.
  const Index parts = layout.sequences() * together;
  Index grain = longest > 128 ? 1 : 8;
  if (shared.by_sequences) grain = parts;
  if (shared.by_heads) grain = shared.by_sequences ? parts * layout.key_heads : layout.key_heads;
  for (Index first = 0; first < chunks; first += together) {
    for (Matrix<Scalar>& d_q : partial) d_q.setZero(query_rows, width);
    parallel_for(threads, parts * layout.key_heads, grain, [&](Index begin, Index end) {
      for (Index i = begin; i < end; ++i) {
        const Index key_head = shared.by_sequences ? i / parts : i % layout.key_heads;
        const Index part = shared.by_sequences ? i % parts : i / layout.key_heads;
        const Index sequence = part % layout.sequences(), chunk = part / layout.sequences();
        const Index key = (first + chunk) * chunk_keys, keys = layout.key_rows.length(sequence);
        if (key >= keys) continue;
        BackwardRows<Scalar> own = rows;
        if (chunk > 0) {
          Matrix<Scalar>& d_q = partial[static_cast<std::size_t>(chunk - 1)];
          own.d_q = {d_q.data(), layout.key_width, width, 1, layout.key_width};
        }
        run(own, BackwardTask{sequence, key_head, key, std::min<Index>(keys, key + chunk_keys)});
      }
    });
    for (const Matrix<Scalar>& own : partial)
      for_each_d_q_row([&](auto d_q, Index row, Index col) { d_q += own.block(row, col, 1, layout.key_width); });
  }
}

/// Computes the gradients of a call, in parallel. Throws if the score does not cover the batch.
template <class Scalar, Score S>
void attend_backward(const BackwardCall<Scalar, S>& call, Threads* threads) {
  check_covers(call.score, call.layout);
  const ScoreKind kind = kind_at_run_time(call.score);
  const SharedGradients shared{kind.heads_share_gradient, kind.sequences_share_gradient};
  for_each_backward_task(call.layout, call.rows, shared, threads,
                         [&](const BackwardRows<Scalar>& rows, const BackwardTask& task) {
                           attend_backward(BackwardCall<Scalar, S>{call.layout, call.score, call.dropout, rows}, task);
                         });
}

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
