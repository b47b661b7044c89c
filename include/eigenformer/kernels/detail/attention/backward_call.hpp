// The arguments of attention's backward kernels.
#pragma once

#include "eigenformer/kernels/detail/attention/call.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

/// The operands and results of the backward.
template <class Scalar>
struct BackwardRows {
  HeadRows<const Scalar> q, k, v, out, d_out;
  HeadRows<const ComputeType<Scalar>> log_sum_exp;    // one number a row
  HeadRows<const ComputeType<Scalar>> d_log_sum_exp;  // null if nobody uses the log-sum-exps
  HeadRows<Scalar> d_q, d_k, d_v;
};

/// The arguments of one backward call.
template <class Scalar, Score S>
struct BackwardCall {
  const AttentionLayout& layout;
  const S& score;
  AttentionDropout dropout;
  BackwardRows<Scalar> rows;

  static constexpr bool in_base_2 = !ScoreTraits<S>::changes_values;  // see AttentionCall
};

/// A range of keys with their values, and the sums of their gradients.
template <class Scalar>
struct KeyRows {
  Strided<Scalar> keys, values;
  ContiguousRows<Scalar> d_k, d_v;
  bool are_finite = false;  // true: keys and values are finite. false: unknown; kernels check where it matters

  KeyRows from_row(Index first) const {
    return {keys.from_row(first), values.from_row(first), d_k.from(first, 0), d_v.from(first, 0), are_finite};
  }
};

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
