// The arguments of attention's kernels.
#pragma once

#include "eigenformer/kernels/detail/attention/dropout.hpp"
#include "eigenformer/kernels/detail/attention/head_rows.hpp"
#include "eigenformer/kernels/detail/attention/layout.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

/// log2(e), folded into the scale unless a score function sees the values: 2^(log2(e) s) = e^s.
template <class Scalar>
inline constexpr auto log2_e = static_cast<Scalar>(1.44269504088896340736);

/// The operands and results of one call. Stored: the type of keys and values in memory.
template <class Scalar, class Stored>
struct AttentionRows {
  HeadRows<const Scalar> q;
  HeadRows<const Stored> k, v;
  HeadRows<Scalar> out;
  HeadRows<ComputeType<Scalar>> log_sum_exp;  // one number per row; null if nobody needs it
};

/// The arguments of one call.
template <class Scalar, class Stored, Score S>
struct AttentionCall {
  const AttentionLayout& layout;
  const S& score;
  AttentionDropout dropout;
  AttentionRows<Scalar, Stored> rows;

  /// Whether the query scale includes log2(e), so that softmax need not multiply each score by it.
  static constexpr bool in_base_2 = !ScoreTraits<S>::changes_values;
  /// Returns the factor that queries are multiplied by when they are copied.
  Scalar query_scale() const { return static_cast<Scalar>(layout.scale * (in_base_2 ? log2_e<double> : 1)); }
  /// Returns the factor for scores whose queries were not multiplied by query_scale().
  float score_factor() const { return static_cast<float>(layout.scale * (in_base_2 ? log2_e<double> : 1)); }

  bool asks_log_sum_exp() const { return rows.log_sum_exp.data != nullptr; }
  /// Writes the log-sum-exp of one row and the head of `tile`.
  void write_log_sum_exp(const ScoreTile& tile, Index row, ComputeType<Scalar> value) const {
    *rows.log_sum_exp.of(tile.sequence).row(tile.head, row) = value;
  }
};

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
