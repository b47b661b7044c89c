// Attention of 16-bit queries, keys and values, with 16-bit results.
//
// Bfloat16 attention runs on the processor's matrix unit, if it has one (see unit_queries.hpp). The float kernels serve
// two other cases:
// - few queries, because reading keys and values takes most of their time
// - types or processors without a unit
//
// They convert queries to float first, and keys and values one tile at a time. Results are rounded once.
#pragma once

#include "eigenformer/core/detail/convert.hpp"
#include "eigenformer/kernels/detail/attention/attend.hpp"
#include "eigenformer/kernels/detail/attention/unit_queries.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

/// A head and a row of queries of one sequence.
struct HeadRow {
  Index sequence, head, row;
};

/// Float buffers for the queries, results and log-sum-exps of 16-bit operands: for some heads and rows of one sequence,
/// or for all.
template <class Stored>
class FloatRows {
 public:
  /// Makes buffers for `rows` rows of `heads` heads, from `first` on. They lie in `workspace`, or on the heap if it
  /// is null.
  FloatRows(const AttentionLayout& layout, const AttentionRows<Stored, Stored>& of, HeadRow first, Index heads,
            Index rows, Workspace* workspace)
      : layout_(layout),
        of_(of),
        first_(first),
        heads_(heads),
        memory_(Workspace::allocate_from<float>(workspace, rows * heads * (layout.key_width + layout.value_width + 1))),
        q_(memory_.get()),
        out_(q_ + rows * heads * layout.key_width),
        sums_(out_ + rows * heads * layout.value_width) {}

  /// Returns the operands of a float call.
  AttentionRows<float, Stored> operands() {
    return {head_rows<const float>(q_, layout_.key_width), of_.k, of_.v, head_rows<float>(out_, layout_.value_width),
            head_rows<float>(sums_, 1)};
  }

  /// Converts a query to float.
  void load(HeadRow place) {
    const HeadRows<const Stored> from = of_.q.of(place.sequence);
    const Stored* const entries = from.row(place.head, place.row);
    float* const to = entry(q_, place, layout_.key_width);
    if (from.col_stride == 1) return convert(entries, from.width, to);
    for (Index j = 0; j < from.width; ++j) to[j] = static_cast<float>(entries[j * from.col_stride]);
  }
  /// Applies the sink, if there is one, to a result, rounds the result, and writes it with its log-sum-exp.
  void store(HeadRow place) {
    double sum = static_cast<double>(*entry(sums_, place, 1));
    float share = 1;
    if (!layout_.sinks.empty()) {
      const double before = sum;
      sum = log_add_exp(before, layout_.sinks[static_cast<std::size_t>(place.head)]);
      share = static_cast<float>(weight_in(before, sum));
    }
    if (of_.log_sum_exp.data != nullptr)
      *of_.log_sum_exp.of(place.sequence).row(place.head, place.row) = static_cast<float>(sum);
    float* const entries = entry(out_, place, layout_.value_width);
    if (share != 1)
      for (Index j = 0; j < layout_.value_width; ++j) entries[j] *= share;
    convert(entries, layout_.value_width, of_.out.of(place.sequence).row(place.head, place.row));
  }

 private:
  float* entry(float* rows, HeadRow place, Index width) const {
    return rows + ((place.row - first_.row) * heads_ + place.head - first_.head) * width;
  }
  /// Returns the columns of all heads. They are addressed by the row and head numbers of the 16-bit operands.
  template <class Scalar>
  HeadRows<Scalar> head_rows(float* rows, Index width) const {
    return {rows - (first_.row * heads_ + first_.head) * width, width, heads_ * width, 1, width};
  }

  const AttentionLayout& layout_;
  const AttentionRows<Stored, Stored>& of_;
  const HeadRow first_;
  const Index heads_;
  // One allocation for all: freeing three large blocks may return memory to the system in every call.
  const std::shared_ptr<float> memory_;
  float *const q_, *const out_, *const sums_;
};

/// Computes attention by the float kernels.
template <class Stored, Score S>
void attend_through_float(const AttentionLayout& layout, const AttentionRows<Stored, Stored>& rows, const S& score,
                          const AttentionOptions& options) {
  FloatRows<Stored> floats(layout, rows, {}, layout.heads, layout.query_rows.rows(), options.workspace);
  for_each_head_row(layout, options.threads, [&](Index sequence, Index head, Index row) {
    floats.load({sequence, head, row});
  });
  AttentionLayout without_sinks = layout;  // store() applies them
  without_sinks.sinks = {};
  attend(without_sinks, floats.operands(), score, options);
  for_each_head_row(layout, options.threads, [&](Index sequence, Index head, Index row) {
    floats.store({sequence, head, row});
  });
}

/// Computes the queries of `tile` for `heads` heads from tile.head on. Calls attends(operands, tile) with float
/// operands, then stores the results of queries for which is_stored(query) is true.
template <class Stored, class Attend, class Stores>
void attend_tile_through_float(const AttentionLayout& layout, const AttentionRows<Stored, Stored>& rows,
                               const ScoreTile& tile, Index heads, Attend attends, Stores is_stored) {
  const Index first_row = tile.first_row + tile.query_begin, count = tile.query_end - tile.query_begin;
  FloatRows<Stored> floats(layout, rows, {tile.sequence, tile.head, first_row}, heads, count, nullptr);
  const auto for_each_row = [&](auto body) {
    for (Index head = tile.head; head < tile.head + heads; ++head)
      for (Index i = 0; i < count; ++i) body(i, HeadRow{tile.sequence, head, first_row + i});
  };
  for_each_row([&](Index, HeadRow place) { floats.load(place); });
  attends(floats.operands(), tile);
  for_each_row([&](Index i, HeadRow place) {
    if (is_stored(tile.query_begin + i)) floats.store(place);
  });
}

/// Computes the queries of `tile` again by the float kernels, which skip hidden keys and whose sums overflow later.
/// Stores only the results of queries that are marked in `undefined`, so no other row's result changes.
template <Score S>
void repair(const AttentionCall<Eigen::bfloat16, Eigen::bfloat16, S>& call, const ScoreTile& tile,
            const bool* undefined) {
  using Stored = Eigen::bfloat16;
  ScoreTile around = tile;  // whole blocks of the float kernel
  Index block = 0;
  while (query_block_begin<float>(tile.queries, block + 1) <= tile.query_begin) ++block;
  around.query_begin = query_block_begin<float>(tile.queries, block);
  do around.query_end = query_block_begin<float>(tile.queries, ++block);
  while (around.query_end < tile.query_end);
  attend_tile_through_float(
      call.layout, call.rows, around, 1,
      [&](const AttentionRows<float, Stored>& floats, const ScoreTile& all) {
        attend_with<QueryBlocks<float, Stored, S>>({call.layout, call.score, call.dropout, floats}, all);
      },
      [&](Index query) {
        return query >= tile.query_begin && query < tile.query_end && undefined[query - tile.query_begin];
      });
}

/// Computes the queries of `tile` on a matrix unit. Marks queries whose result is not finite in `undefined`. Returns
/// whether there are any. Not inlined, so that its 310 KB of stack are free before repair() runs.
template <class Unit, Score S>
EIGEN_DONT_INLINE bool attend_on_unit(const AttentionCall<Eigen::bfloat16, Eigen::bfloat16, S>& call,
                                      const ScoreTile& tile, bool* undefined) {
  UnitQueries<Unit, S> queries(call, tile);
  queries.attend();
  return queries.finish(undefined) > 0;
}

/// Computes the attention of a call on a matrix unit, in parallel. workspace: memory for the list of tasks; null: the
/// heap. Throws if the score does not cover the batch.
template <class Unit, Score S>
void attend_on(Unit, const AttentionCall<Eigen::bfloat16, Eigen::bfloat16, S>& call, Threads* threads,
               Workspace* workspace) {
  using Stored = Eigen::bfloat16;
  const AttentionLayout& layout = call.layout;
  using AnyScore = ScoreOfKind<float, kind_off_blocks<S>>;
  const AnyScore any_score(call.score);
  check_covers(call.score, layout);
  // Several tasks for each thread. But tasks are not so small that packing keys and values takes much of their time.
  const Index groups = layout.heads * layout.query_rows.rows() / unit_group;
  const Index together = threads == nullptr ? max_unit_groups : std::clamp<Index>(groups / 16, 4, max_unit_groups);
  const AttentionTasks tasks = attention_tasks<Stored>(layout, together, workspace);
  const Index grain = layout.key_rows.max_length() > 128 ? 1 : 16;
  parallel_for(threads, static_cast<Index>(tasks.tasks.size()), grain, [&](Index begin, Index end) {
    for (Index i = begin; i < end; ++i) {
      const AttentionTask& task = tasks.tasks[static_cast<std::size_t>(i)];
      const ScoreTile tile = tile_of_queries(layout, task);
      if (task.path == QueryPath::query_blocks) {
        bool undefined[max_unit_groups * unit_group];
        if (attend_on_unit<Unit>(call, tile, undefined)) repair(call, tile, undefined);
        continue;
      }
      attend_tile_through_float(
          layout, call.rows, tile, layout.group(),
          [&](const AttentionRows<float, Stored>& floats, const ScoreTile& all) {
            const AttentionCall<float, Stored, AnyScore> any_call{layout, any_score, call.dropout, floats};
            if (task.path == QueryPath::grouped_heads)
              attend_with<GroupedHeads<float, Stored, AnyScore>>(any_call, all);
            else
              attend_with<FewQueries<float, Stored, AnyScore>>(any_call, all);
          },
          [](Index) { return true; });
    }
  });
}

/// Computes attention of the 16-bit operands in `rows`, and writes the results to `rows`. Throws if the score does not
/// cover the batch.
template <class Stored, Score S>
requires(!std::is_same_v<Stored, ComputeType<Stored>>) void attend(const AttentionLayout& layout,
                                                                   const AttentionRows<Stored, Stored>& rows,
                                                                   const S& score, const AttentionOptions& options) {
  if constexpr (std::is_same_v<Stored, Eigen::bfloat16> && matrix_unit::is_fast<Eigen::bfloat16>) {
    const auto& kernel_score = for_kernel<float, kind_of_forward<S>>(score);
    const AttentionDropout dropout(options);
    const AttentionCall<Stored, Stored, std::remove_cvref_t<decltype(kernel_score)>> call{layout, kernel_score, dropout,
                                                                                          rows};
    matrix_unit::with_best<Eigen::bfloat16>(
        [&](auto unit) { attend_on(unit, call, options.threads, options.workspace); });
  } else {
    attend_through_float(layout, rows, score, options);
  }
}

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
