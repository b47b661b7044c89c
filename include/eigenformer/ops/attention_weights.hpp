// Attention weights as a Variable, for losses on the weights themselves.
#pragma once

#include <algorithm>
#include <limits>

#include "eigenformer/ops/additive_attention.hpp"
#include "eigenformer/ops/attention.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

namespace detail {

/// Returns values for which the result of attention is the weights: [keys x heads * width]. In each of `heads` column
/// blocks, key j of a sequence has the j-th unit vector. width: 0 for the number of keys of the longest sequence.
template <class Scalar>
Variable<Scalar> unit_values(const Context<Scalar>& context, const RowOffsets& key_rows, Index heads, Index width) {
  const Index longest = key_rows.max_length();
  if (width == 0) width = longest;
  check(width >= longest, "attention weights: width is ", width, ", expected 0, or at least ", longest,
        ", the keys of the longest sequence");
  check(width <= (std::numeric_limits<Index>::max)() / std::max<Index>(heads, 1), "attention weights: ", heads,
        " heads of width ", width, " have too many columns to count");
  Variable<Scalar> values = context.new_matrix(key_rows.rows(), heads * width);
  values.writable().setZero();
  for (Index s = 0; s < key_rows.sequences(); ++s)
    for (Index j = 0; j < key_rows.length(s); ++j)
      for (Index head = 0; head < heads; ++head) values.writable()(key_rows.begin(s) + j, head * width + j) = 1;
  return values;
}

}  // namespace detail

/// Returns attention weights with their gradient: [queries x heads * width]. Heads are column blocks. Column j of a
/// block is the weight of key j of the query's sequence, and 0 beyond the sequence's keys. Dropout is not applied.
///
/// The weights are computed as attention over unit vectors: A I = A. So scores and sinks get their gradients. Time and
/// memory are those of attention with values of this width. In mixed precision they are still computed in float. If
/// no gradient is needed, use attention_weights in kernels/attention_weights.hpp.
///
/// in: in.q and in.k are matrices; in.v is not read. options: as for attention. width: the columns of a head's block;
/// 0: the number of keys of the longest sequence. Throws if the longest sequence has more keys than `width`.
template <class Scalar>
Variable<Scalar> differentiable_attention_weights(const Context<Scalar>& context, QueryKeyValue<Scalar> in,
                                                  const VariableScore<Scalar>& score, AttentionOptions options,
                                                  Index width = 0) {
  options.key_rows = options.key_rows.for_rows(in.k.rows(), "attention weights", "k");
  options.dropout = 0;
  const Index key_heads = options.key_heads == 0 ? options.heads : options.key_heads;
  in.v = detail::unit_values(context, options.key_rows, key_heads, width);
  Context<Scalar> exact = context;
  exact.precision = Precision::float32;
  return attention(exact, in, score, options);
}

/// Returns the weights of additive attention with their gradient: [queries x width]. Column j is the weight of key j of
/// the query's sequence, and 0 beyond the sequence's keys. The arguments are those of additive_attention. width: 0 for
/// the number of keys of the longest sequence. Throws if that sequence has more keys than `width`.
template <class Scalar>
Variable<Scalar> differentiable_attention_weights(const Context<Scalar>& context, const Variable<Scalar>& q,
                                                  const Variable<Scalar>& k, const Variable<Scalar>& v,
                                                  AdditiveAttentionOptions options = {}, Index width = 0) {
  options.key_rows = options.key_rows.for_rows(k.rows(), "attention weights", "k");
  return additive_attention(context, q, k, v, detail::unit_values(context, options.key_rows, 1, width), options);
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
