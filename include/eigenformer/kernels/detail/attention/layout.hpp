// The options of a call of attention, checked against the shapes of its operands.
#pragma once

#include <cmath>
#include <span>

#include "eigenformer/kernels/attention_options.hpp"
#include "eigenformer/kernels/detail/attention/score_calls.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

/// The options of a call, checked against q, k and v.
struct AttentionLayout {
  Index heads;
  Index key_heads;
  Index key_width;    // of one head
  Index value_width;  // of one head
  double scale;
  RowOffsets query_rows;
  RowOffsets key_rows;
  std::span<const Index> key_index;  // empty if keys lie in order, or if there are none
  std::span<const double> sinks;     // of each head, or empty

  /// Returns the number of query heads that share a key head.
  Index group() const { return heads / key_heads; }
  /// Returns the key head that a query head reads.
  Index key_head(Index head) const { return head / group(); }
  Index sequences() const { return query_rows.sequences(); }
};

/// Returns the layout of a call with operands of shapes q, k and v. Throws if they or the options do not fit.
inline AttentionLayout attention_layout(Shape q, Shape k, Shape v, const AttentionOptions& options) {
  const Index heads = options.heads;
  const Index key_heads = options.key_heads == 0 ? heads : options.key_heads;
  check(heads >= 1 && key_heads >= 1 && heads % key_heads == 0, "attention: ", heads, " heads cannot share ", key_heads,
        " key heads, expected a multiple");
  check(q.cols >= heads && q.cols % heads == 0, "attention: q is ", q, ", expected a width that ", heads,
        " heads divide");
  const Index key_width = q.cols / heads;
  check(k.cols == key_heads * key_width, "attention: q is ", q, ", k is ", k, ", expected ", key_heads * key_width,
        " columns in k for ", heads, " heads and ", key_heads, " key heads");
  check(v.cols % key_heads == 0, "attention: v is ", v, ", expected a width that ", key_heads, " key heads divide");
  check(k.rows == v.rows, "attention: k is ", k, ", v is ", v, ", expected as many rows");
  check(options.dropout >= 0 && options.dropout < 1, "attention: dropout is ", options.dropout,
        ", expected 0 or more and less than 1");
  const bool indexed = options.key_index.has_value();
  const std::span<const Index> key_index = options.key_index.value_or(std::span<const Index>());
  for (const Index row : key_index) check(row >= 0 && row < k.rows, "attention: key_index has ", row, ", k is ", k);
  AttentionLayout layout{heads,
                         key_heads,
                         key_width,
                         v.cols / key_heads,
                         options.scale.value_or(1 / std::sqrt(static_cast<double>(key_width))),
                         options.query_rows.for_rows(q.rows, "attention", "q"),
                         options.key_rows.for_rows(indexed ? static_cast<Index>(key_index.size()) : k.rows, "attention",
                                                   indexed ? "key_index" : "k"),
                         key_index,
                         options.sinks};
  check(options.sinks.empty() || static_cast<Index>(options.sinks.size()) == heads, "attention: ", options.sinks.size(),
        " sinks, expected one for each of ", heads, " heads");
  check(layout.query_rows.sequences() == layout.key_rows.sequences(), "attention: query_rows has ",
        layout.query_rows.sequences(), " sequences, key_rows has ", layout.key_rows.sequences());
  return layout;
}

/// Returns the tile that a score with a size of its own must cover: the last sequence and head, all query rows of the
/// batch, and the keys of the longest sequence.
inline ScoreTile whole_batch(const AttentionLayout& layout) {
  ScoreTile batch;
  batch.head = layout.heads - 1;
  batch.sequence = layout.sequences() - 1;
  batch.queries = layout.query_rows.max_length();
  batch.query_end = layout.query_rows.rows();
  batch.keys = batch.key_end = layout.key_rows.max_length();
  return batch;
}

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
