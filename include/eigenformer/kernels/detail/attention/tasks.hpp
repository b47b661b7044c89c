// Splits a call of attention into tasks.
#pragma once

#include <memory>
#include <span>

#include "eigenformer/core/function_ref.hpp"
#include "eigenformer/kernels/detail/attention/erased_score.hpp"
#include "eigenformer/kernels/detail/attention/few_queries.hpp"
#include "eigenformer/kernels/detail/attention/grouped_heads.hpp"
#include "eigenformer/kernels/detail/attention/query_blocks.hpp"
#include "eigenformer/kernels/detail/attention/touch_rows.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

/// How the queries of a sequence go over its keys. Each path has a class of its own.
enum class QueryPath { query_blocks, grouped_heads, few_queries };

/// Returns the path of a sequence. It depends on the sequence's sizes alone, because it determines the order of sums,
/// which must not depend on the batch.
template <class Scalar>
QueryPath query_path(const AttentionLayout& layout, Index sequence) {
  if (has_few_queries<Scalar>(layout, sequence)) return QueryPath::few_queries;
  return heads_fit_a_block<Scalar>(layout, sequence) ? QueryPath::grouped_heads : QueryPath::query_blocks;
}

/// One task: some queries of one sequence and head, or all queries of all heads that share a key head, over all keys.
struct AttentionTask {
  QueryPath path;
  Index sequence;
  Index head;  // the first, if there are several
  Index query_begin, query_end;
};

/// The tasks of a call. Their memory is from a workspace or the heap.
struct AttentionTasks {
  std::shared_ptr<AttentionTask> memory;
  std::span<const AttentionTask> tasks;
};

/// Returns the number of tasks of a sequence's queries, over all heads.
template <class Scalar>
Index task_count(const AttentionLayout& layout, Index sequence, Index together) {
  const Index queries = layout.query_rows.length(sequence);
  if (queries == 0) return 0;
  if (query_path<Scalar>(layout, sequence) != QueryPath::query_blocks) return layout.key_heads;
  return layout.heads * ((query_blocks<Scalar>(queries) + together - 1) / together);
}

/// Returns all tasks of a call, sequence by sequence. Tasks of one head are adjacent, because they read the same keys.
/// Heads of one sequence are adjacent too, because their keys often lie in the same rows. together: query blocks per
/// task. The blocks of a task go over the keys together. workspace: memory for the tasks; null: the heap.
template <class Scalar>
AttentionTasks attention_tasks(const AttentionLayout& layout, Index together, Workspace* workspace) {
  Index count = 0;
  for (Index s = 0; s < layout.sequences(); ++s) count += task_count<Scalar>(layout, s, together);
  const std::shared_ptr<AttentionTask> memory = Workspace::allocate_from<AttentionTask>(workspace, count);
  AttentionTask* next = memory.get();
  for (Index s = 0; s < layout.sequences(); ++s) {
    const Index queries = layout.query_rows.length(s);
    if (queries == 0) continue;
    const QueryPath path = query_path<Scalar>(layout, s);
    for (Index head = 0; head < layout.heads; ++head) {
      if (path != QueryPath::query_blocks) {
        if (head % layout.group() == 0) *next++ = {path, s, head, 0, queries};
        continue;
      }
      const Index blocks = query_blocks<Scalar>(queries);
      for (Index block = 0; block < blocks; block += together)
        *next++ = {path, s, head, query_block_begin<Scalar>(queries, block),
                   query_block_begin<Scalar>(queries, std::min<Index>(blocks, block + together))};
    }
  }
  return {memory, {memory.get(), static_cast<std::size_t>(count)}};
}

/// Returns the tile of a task's queries, with no keys yet.
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

/// Computes the attention of the queries of `tile` with the class Queries.
///
/// A hidden key's weight is 0, but 0 times infinity or NaN is NaN, which must not reach a query that does not see the
/// key. Such values make results NaN, so one check of the results at the end is enough, and costs next to nothing. If
/// something was hidden and a result is not finite, everything is computed again with hidden keys skipped.
template <class Queries>
void attend_with(const typename Queries::Call& call, const ScoreTile& tile) {
  constexpr bool changes_values = ScoreTraits<std::remove_cvref_t<decltype(call.score)>>::changes_values;
  for (const HiddenKeys hidden : {HiddenKeys::weighted_by_zero, HiddenKeys::skipped}) {
    Queries queries(call, tile, hidden);
    const bool masks = for_each_key_tile(
        call.layout, call.rows,
        [&](const ScoreTile& keys, Index heads) { return seen_by_heads(call.score, keys, heads); }, tile,
        queries.key_tiles(), [&](const auto& keys) { queries.attend(keys); });
    const bool hides = masks || changes_values;  // a score may hide keys by minus infinity
    if (queries.finish(hides && hidden == HiddenKeys::weighted_by_zero)) return;
  }
}

/// Calls run(path, tile) for each task of a call, in parallel. tile: the queries of the task, with no keys yet.
/// workspace: memory for the list of tasks; null: the heap.
template <class Scalar, class Stored>
void for_each_task(const AttentionLayout& layout, const AttentionRows<Scalar, Stored>& rows, Threads* threads,
                   Workspace* workspace, FunctionRef<void(QueryPath, const ScoreTile&)> run) {
  const AttentionTasks tasks =
      attention_tasks<Scalar>(layout, blocks_together<Scalar>(layout, rows.k, rows.v, threads != nullptr), workspace);
  const bool touches = touching_pays(layout, rows);
  const Index grain = layout.key_rows.max_length() > 128 ? 1 : 16;  // short sequences: about 20 microseconds a task
  parallel_for(threads, static_cast<Index>(tasks.tasks.size()), grain, [&](Index begin, Index end) {
    for (Index i = begin; i < end; ++i) {
      const AttentionTask& task = tasks.tasks[static_cast<std::size_t>(i)];
      if (touches && task.path == QueryPath::few_queries && task.head == 0) touch_keys(layout, rows, task.sequence);
      run(task.path, tile_of_queries(layout, task));
    }
  });
}

/// Computes the attention of a call, in parallel. workspace: memory for the list of tasks; null: the heap. Throws if
/// the score does not cover the batch.
///
/// Only query blocks have kernels compiled for a single score (see has_own_kernel). The other paths call the score only
/// a few times per tile of keys, so indirect calls cost next to nothing there. Each of them has two kernels: one for
/// all masks, and one for all scores that change values.
template <class Scalar, class Stored, Score S>
void attend(const AttentionCall<Scalar, Stored, S>& call, Threads* threads, Workspace* workspace) {
  using AnyScore = ScoreOfKind<Scalar, kind_off_blocks<S>>;
  const AnyScore any_score(call.score);
  const AttentionCall<Scalar, Stored, AnyScore> any_call{call.layout, any_score, call.dropout, call.rows};
  check_covers(call.score, call.layout);
  for_each_task(call.layout, call.rows, threads, workspace, [&](QueryPath path, const ScoreTile& tile) {
    switch (path) {
      case QueryPath::query_blocks:
        attend_with<QueryBlocks<Scalar, Stored, S>>(call, tile);
        break;
      case QueryPath::grouped_heads:
        attend_with<GroupedHeads<Scalar, Stored, AnyScore>>(any_call, tile);
        break;
      case QueryPath::few_queries:
        attend_with<FewQueries<Scalar, Stored, AnyScore>>(any_call, tile);
        break;
    }
  });
}

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
