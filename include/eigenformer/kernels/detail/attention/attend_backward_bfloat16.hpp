// The derivative of bfloat16 attention, on the processor's matrix unit (see unit_backward.hpp). With a score other than
// Unmasked, sequences whose products may be infinite or NaN take the float kernels instead.
// Measured: Zen 4 (AVX512-BF16), GCC 12, one thread, attention_bench's bfloat16_backward_against_float in CPU time: 1.7
// to 1.9 times the speed of float for 512 to 8192 tokens, d = 64 and 128.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "eigenformer/kernels/detail/attention/attend_backward.hpp"
#include "eigenformer/kernels/detail/attention/sinks.hpp"
#include "eigenformer/kernels/detail/attention/unit_backward.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

/// Float rows of all heads, in one matrix [rows x heads * width].
class FloatHeads {
 public:
  FloatHeads(Index rows, Index heads, Index width) : width_(width), matrix_(Matrix<float>::Zero(rows, heads * width)) {}

  /// Returns all rows. Scalar: float or const float.
  template <class Scalar>
  HeadRows<Scalar> rows() {
    return {matrix_.data(), width_, matrix_.cols(), 1, width_};
  }
  /// Copies a sequence's rows, from row `begin` to `end` - 1, of all heads.
  void load(const HeadRows<const Eigen::bfloat16>& from, Index sequence, Index begin, Index end) {
    const HeadRows<const Eigen::bfloat16> own = from.of(sequence);
    for (Index row = begin; row < end; ++row)
      for (Index c = 0; c < matrix_.cols(); ++c)
        matrix_(row, c) = static_cast<float>(own.row(c / width_, row)[c % width_ * own.col_stride]);
  }
  /// Rounds a sequence's rows to bfloat16 and writes them to `to`.
  void store(const HeadRows<Eigen::bfloat16>& to, Index sequence, Index begin, Index end) const {
    const HeadRows<Eigen::bfloat16> own = to.of(sequence);
    for (Index row = begin; row < end; ++row)
      for (Index col = 0; col < matrix_.cols(); col += width_)
        matrix_unit::store_rounded(&matrix_(row, col), width_, 1, own.row(col / width_, row));
  }

 private:
  Index width_;
  Matrix<float> matrix_;
};

/// Returns whether the magnitudes in rows begin to end - 1 of a sequence are below 2^56, in all heads. Then sums of up
/// to 2^15 products of two such numbers are finite.
inline bool are_moderate(const HeadRows<const Eigen::bfloat16>& rows, Index heads, Index sequence, Index begin,
                         Index end) {
  const HeadRows<const Eigen::bfloat16> own = rows.of(sequence);
  const Index together = own.col_stride == 1 ? own.width : 1;
  for (Index row = begin; row < end; ++row)
    for (Index head = 0; head < heads; ++head) {
      const Eigen::bfloat16* const entries = own.row(head, row);
      for (Index c = 0; c < own.width; c += together)
        if (!matrix_unit::all_below(entries + c * own.col_stride, together, 56)) return false;
    }
  return true;
}

/// Returns whether the log-sum-exps of a sequence's queries begin to end - 1 are finite or -inf, and their gradients,
/// if given, are finite, in all heads. A score can make log-sum-exps infinity or NaN even if the operands are moderate.
inline bool sums_are_moderate(const BackwardRows<Eigen::bfloat16>& rows, Index heads, Index sequence, Index begin,
                              Index end) {
  const HeadRows<const float> sums = rows.log_sum_exp.of(sequence), d_sums = rows.d_log_sum_exp.of(sequence);
  for (Index row = begin; row < end; ++row)
    for (Index head = 0; head < heads; ++head) {
      const float sum = *sums.row(head, row);
      if (!is_finite(sum) && !is_minus_infinity(sum)) return false;
      if (d_sums.data != nullptr && !is_finite(*d_sums.row(head, row))) return false;
    }
  return true;
}

/// Runs one task. Adds the contributions of its keys to the gradients of the sequence's queries, which are floats in
/// d_q, and writes the gradients of its keys and values.
template <class Unit, Score S>
void attend_backward_on(const BackwardCall<Eigen::bfloat16, S>& call, const HeadRows<float>& d_q,
                        const BackwardTask& task) {
  using Value = Eigen::bfloat16;
  const typename Unit::Session session;
  const AttentionLayout& layout = call.layout;
  ScoreTile tile = tile_of(layout, task);
  UnitKeys keys(layout, call.rows, task.key_head, tile);
  UnitBackwardTile<Unit, BackwardCall<Value, S>::in_base_2, ScoreTraits<S>::saved_blocks> queries(layout);
  for (tile.head = task.key_head * layout.group(); tile.head < (task.key_head + 1) * layout.group(); ++tile.head)
    for (Index query = 0; query < tile.queries; query += UnitSizes::queries) {
      tile.query_begin = query;
      tile.query_end = std::min<Index>(tile.queries, query + UnitSizes::queries);
      if (!set_keys(call.score, tile, task.begin, task.end)) continue;
      queries.load(call.rows, tile);
      for (Index chunk = task.begin; chunk < task.end; chunk += backward_keys) {
        const Index chunk_end = std::min<Index>(task.end, chunk + backward_keys);
        if (!set_keys(call.score, tile, chunk, chunk_end)) continue;
        queries.clear_d_q();
        for (Index key = chunk; key < chunk_end; key += UnitSizes::keys)
          if (set_keys(call.score, tile, key, std::min<Index>(chunk_end, key + UnitSizes::keys)))
            queries.add(call, tile, keys, (key - task.begin) / UnitSizes::depth);
        queries.add_d_q(d_q.of(tile.sequence).row(tile.head, tile.first_row + query), d_q.row_stride);
      }
    }
  keys.finish(call.rows.d_k.of(tile.sequence), call.rows.d_v.of(tile.sequence), task.key_head,
              layout.key_rows.begin(tile.sequence) + task.begin, static_cast<float>(layout.scale));
}

/// Computes the gradients of attention: reads the operands in `rows`, and writes the gradients to `rows`. Throws if the
/// score does not cover the batch.
template <Score S>
void attend_backward(const AttentionLayout& layout, const BackwardRows<Eigen::bfloat16>& rows, const S& score,
                     const AttentionOptions& options) {
  using Value = Eigen::bfloat16;
  const auto& kernel_score = for_kernel<float, kind_of_backward<S, float>>(score);
  using KernelScore = std::remove_cvref_t<decltype(kernel_score)>;
  check_covers(kernel_score, layout);
  const RowOffsets &queries = layout.query_rows, &keys = layout.key_rows;
  const BackwardCall<Value, KernelScore> call{layout, kernel_score, AttentionDropout(options), rows};
  FloatHeads d_q(queries.rows(), layout.heads, layout.key_width);

  // A weight of 0 times infinity or NaN is NaN, which must not reach the gradients of hidden keys and values. Unmasked
  // hides nothing, so it needs no check.
  std::vector<std::uint8_t> takes_unit(static_cast<std::size_t>(layout.sequences()), 1);
  if constexpr (!std::is_same_v<S, Unmasked>)
    parallel_for(options.threads, layout.sequences(), 1, [&](Index begin, Index end) {
      for (Index s = begin; s < end; ++s)
        takes_unit[static_cast<std::size_t>(s)] =
            are_moderate(rows.q, layout.heads, s, queries.begin(s), queries.end(s)) &&
            are_moderate(rows.d_out, layout.heads, s, queries.begin(s), queries.end(s)) &&
            are_moderate(rows.k, layout.key_heads, s, keys.begin(s), keys.end(s)) &&
            are_moderate(rows.v, layout.key_heads, s, keys.begin(s), keys.end(s)) &&
            sums_are_moderate(rows, layout.heads, s, queries.begin(s), queries.end(s));
    });
  const bool all_take_unit = std::find(takes_unit.begin(), takes_unit.end(), 0) == takes_unit.end();
  const Index float_keys = all_take_unit ? 0 : keys.rows();
  const auto copy = [&](const HeadRows<const Value>& from, Index heads, const RowOffsets& of) {
    FloatHeads floats(all_take_unit ? 0 : of.rows(), heads, from.width);
    for (Index s = 0; s < layout.sequences(); ++s)
      if (!takes_unit[static_cast<std::size_t>(s)]) floats.load(from, s, of.begin(s), of.end(s));
    return floats;
  };
  FloatHeads q = copy(rows.q, layout.heads, queries), k = copy(rows.k, layout.key_heads, keys),
             v = copy(rows.v, layout.key_heads, keys), out = copy(rows.out, layout.heads, queries),
             d_out = copy(rows.d_out, layout.heads, queries);
  FloatHeads d_k(float_keys, layout.key_heads, layout.key_width), d_v(float_keys, layout.key_heads, layout.value_width);
  const BackwardRows<float> floats{q.rows<const float>(),   k.rows<const float>(),     v.rows<const float>(),
                                   out.rows<const float>(), d_out.rows<const float>(), rows.log_sum_exp,
                                   rows.d_log_sum_exp,      d_q.rows<float>(),         d_k.rows<float>(),
                                   d_v.rows<float>()};
  const ScoreKind kind = kind_at_run_time(kernel_score);
  for_each_backward_task(
      layout, floats, {kind.heads_share_gradient, kind.sequences_share_gradient}, options.threads,
      [&](const BackwardRows<float>& own, const BackwardTask& task) {
        if (takes_unit[static_cast<std::size_t>(task.sequence)])
          return matrix_unit::with_best<Value>(
              [&](auto unit) { attend_backward_on<decltype(unit)>(call, own.d_q, task); });
        attend_backward(BackwardCall<float, KernelScore>{layout, kernel_score, call.dropout, own}, task);
      });
  for (Index s = 0; s < layout.sequences(); ++s) {
    d_q.store(rows.d_q, s, queries.begin(s), queries.end(s));
    if (takes_unit[static_cast<std::size_t>(s)]) continue;
    d_k.store(rows.d_k, s, keys.begin(s), keys.end(s));
    d_v.store(rows.d_v, s, keys.begin(s), keys.end(s));
  }
}

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
