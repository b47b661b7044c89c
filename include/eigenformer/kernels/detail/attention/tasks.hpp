// What a call of attention does, cut into tasks.
#pragma once

#include <vector>

#include "eigenformer/kernels/detail/attention/few_queries.hpp"
#include "eigenformer/kernels/detail/attention/grouped_heads.hpp"
#include "eigenformer/kernels/detail/attention/query_blocks.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

/// How the queries of a sequence go over its keys: each has a class of its own.
enum class QueryPath { query_blocks, grouped_heads, few_queries };

/// Chosen by the sequence's sizes alone: the order of sums depends on it, and must not depend on the batch.
template <class Scalar>
QueryPath query_path(const AttentionLayout& layout, Index sequence) {
  if (has_few_queries<Scalar>(layout, sequence)) return QueryPath::few_queries;
  return heads_fit_a_block<Scalar>(layout, sequence) ? QueryPath::grouped_heads : QueryPath::query_blocks;
}

/// Some queries of one sequence and head, or all queries of all heads that share a key head, over all keys.
struct AttentionTask {
  QueryPath path;
  Index sequence;
  Index head;  // the first, of several
  Index query_begin, query_end;
};

/// All tasks of a call: a head's tasks lie together, since they read the same keys. `together`: blocks of queries that
/// go over the keys as one.
template <class Scalar>
std::vector<AttentionTask> attention_tasks(const AttentionLayout& layout, Index together) {
  std::vector<AttentionTask> tasks;
  for (Index head = 0; head < layout.heads; ++head)
    for (Index s = 0; s < layout.sequences(); ++s) {
      const Index queries = layout.query_rows.length(s);
      if (queries == 0) continue;
      const QueryPath path = query_path<Scalar>(layout, s);
      if (path != QueryPath::query_blocks) {
        if (head % layout.group() == 0) tasks.push_back({path, s, head, 0, queries});
        continue;
      }
      const Index blocks = query_blocks<Scalar>(queries);
      for (Index block = 0; block < blocks; block += together)
        tasks.push_back({path, s, head, query_block_begin<Scalar>(queries, block),
                         query_block_begin<Scalar>(queries, std::min<Index>(blocks, block + together))});
    }
  return tasks;
}

/// The queries of a task, over no keys yet.
inline ScoreTile tile_of_queries(const AttentionLayout& layout, const AttentionTask& task) {
  ScoreTile tile;
  tile.head = task.head;
  tile.sequence = task.sequence;
  tile.first_row = layout.query_rows.begin(task.sequence);
  tile.queries = layout.query_rows.length(task.sequence);
  tile.keys = layout.key_rows.length(task.sequence);
  tile.query_begin = task.query_begin;
  tile.query_end = task.query_end;
  return tile;
}

/// Attends with the queries of `tile`, by the class Queries.
///
/// A hidden key's weight is 0, but 0 times an infinite or undefined value is not 0, and must not reach the result of a
/// query that does not see it. The results tell: this is checked at the end, where it costs next to nothing. If
/// something was hidden and a result is not finite, all is done again with hidden keys left out.
template <class Queries>
void attend_with(const typename Queries::Call& call, const ScoreTile& tile) {
  for (const HiddenKeys hidden : {HiddenKeys::weighted_by_zero, HiddenKeys::skipped}) {
    Queries queries(call, tile, hidden);
    const bool hides =
        for_each_key_tile(call, tile, queries.key_tiles(), [&](const auto& keys) { queries.attend(keys); });
    if (queries.finish(hides && hidden == HiddenKeys::weighted_by_zero)) return;
  }
}

/// Computes the attention of a call, in parallel.
template <class Scalar, class Stored, Score S>
void attend(const AttentionCall<Scalar, Stored, S>& call, Threads* threads) {
  const AttentionLayout& layout = call.layout;
  check_covers(call.score, whole_batch(layout));
  const std::vector<AttentionTask> tasks =
      attention_tasks<Scalar>(layout, blocks_together<Scalar>(layout, call.rows.k, call.rows.v, threads != nullptr));
  const Index grain = layout.key_rows.max_length() > 128 ? 1 : 16;  // short sequences: some 20 microseconds a task
  parallel_for(threads, static_cast<Index>(tasks.size()), grain, [&](Index begin, Index end) {
    for (Index i = begin; i < end; ++i) {
      const AttentionTask& task = tasks[static_cast<std::size_t>(i)];
      const ScoreTile tile = tile_of_queries(layout, task);
      switch (task.path) {
        case QueryPath::query_blocks:
          attend_with<QueryBlocks<Scalar, Stored, S>>(call, tile);
          break;
        case QueryPath::grouped_heads:
          attend_with<GroupedHeads<Scalar, Stored, S>>(call, tile);
          break;
        case QueryPath::few_queries:
          attend_with<FewQueries<Scalar, Stored, S>>(call, tile);
          break;
      }
    }
  });
}

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
