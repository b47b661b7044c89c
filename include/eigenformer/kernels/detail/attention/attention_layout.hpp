// What an attention call works on: its options, their check against the shapes, and where each head's rows lie.
#pragma once

#include <cmath>
#include <optional>
#include <span>

#include "eigenformer/core/rng.hpp"
#include "eigenformer/core/row_offsets.hpp"
#include "eigenformer/core/tensor.hpp"
#include "eigenformer/core/threads.hpp"
#include "eigenformer/kernels/detail/gemm/product.hpp"
#include "eigenformer/kernels/scores/score.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// Options of an attention call. Heads are column blocks of q, k, v and of the result.
struct AttentionOptions {
  Index heads = 1;
  Index key_heads = 0;            // 0: as many as heads. Fewer: each serves heads / key_heads query heads in a row
  std::optional<double> scale{};  // of the scores; by default 1 / sqrt(width of a key head)
  RowOffsets query_rows{};        // which rows belong to which sequence; by default all are one
  RowOffsets key_rows{};          // the keys' and values' rows; as many sequences as query_rows
  // Where keys do not lie in order (a decoding cache): key j of all sequences, counted through key_rows, is row
  // key_index[j] of k and v. An empty list names no keys; by default all rows are keys. Not for the backward.
  std::optional<std::span<const Index>> key_index{};
  double dropout = 0;  // of the attention weights, drawn by dropout_key
  RandomKey dropout_key{};
  Threads* threads = nullptr;
};

/// The type of a call's last argument, given that of the one before it: options after a score, none after options.
struct NoOptions {};
template <class ScoreOrOptions>
using OptionsAfter =
    std::conditional_t<std::is_base_of_v<AttentionOptions, ScoreOrOptions>, NoOptions, AttentionOptions>;

namespace detail {

/// Options that were checked against q, k and v.
struct AttentionLayout {
  Index heads;
  Index key_heads;
  Index key_width;    // of one head
  Index value_width;  // of one head
  double scale;
  RowOffsets query_rows;
  RowOffsets key_rows;
  std::span<const Index> key_index;  // empty: keys lie in order, or there are none

  /// Query heads that share a key head.
  Index group() const { return heads / key_heads; }
  Index key_head(Index head) const { return head / group(); }
  Index sequences() const { return query_rows.sequences(); }
};

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
                         options.query_rows.over(q.rows, "attention", "q"),
                         options.key_rows.over(indexed ? static_cast<Index>(key_index.size()) : k.rows, "attention",
                                               indexed ? "key_index" : "k"),
                         key_index};
  check(layout.query_rows.sequences() == layout.key_rows.sequences(), "attention: query_rows has ",
        layout.query_rows.sequences(), " sequences, key_rows has ", layout.key_rows.sequences());
  return layout;
}

/// What a score of a size of its own has to cover.
inline ScoreTile whole_batch(const AttentionLayout& layout) {
  ScoreTile batch;
  batch.head = layout.heads - 1;
  batch.queries = batch.query_end = layout.query_rows.rows();
  batch.keys = batch.key_end = layout.key_rows.longest();
  return batch;
}

/// The rows of one operand, a head at a time, wherever they lie.
template <class Scalar>
struct HeadRows {
  Scalar* data;
  Index head_stride;
  Index row_stride;
  Index col_stride;
  Index width;  // of a head

  Scalar* row(Index head, Index row) const { return data + head * head_stride + row * row_stride; }
  /// From this row on, one head's columns.
  Strided<std::remove_const_t<Scalar>> from(Index head, Index first) const {
    return {row(head, first), row_stride, col_stride};
  }
};

/// Heads as column blocks of a matrix.
template <class Scalar>
HeadRows<Scalar> head_columns(const TensorView<Scalar, 2>& matrix, Index heads) {
  const Index width = matrix.dimension(1) / heads;
  return {matrix.data(), width * matrix.stride(1), matrix.stride(0), matrix.stride(1), width};
}

/// The same for a result.
template <class Scalar>
HeadRows<Scalar> head_columns(MatrixRef<Scalar>& matrix, Index heads) {
  const Index width = matrix.cols() / heads;
  return {matrix.data(), width, matrix.outerStride(), 1, width};
}

template <class T>
inline constexpr bool is_options = std::is_base_of_v<AttentionOptions, T>;

/// body(score, options) of a call's last arguments, of which the first may be either. Of anything else, a sentence says
/// what to write. Scalar: of the attention. differentiated: whether the score's derivative will be asked for.
template <class Scalar, bool differentiated = false, class S, class O, class Body>
auto with_score_and_options(const S& score, const O& options, Body body) {
  constexpr bool is_last = std::is_same_v<O, NoOptions>, is_number = std::is_arithmetic_v<S>;
  static_assert(!is_options<S> || is_last, "options come last, after the score: attention(q, k, v, score, options)");
  static_assert(is_options<S> || is_options<O>, "what follows the score is AttentionOptions, such as {.heads = 8}");
  static_assert(!is_number, "options have names, and stand in braces: attention(q, k, v, {.heads = 8})");
  if constexpr (is_options<S>)
    return body(Unmasked{}, score);
  else if constexpr (is_number || !is_options<O>)
    return body(Unmasked{}, AttentionOptions{});
  else if constexpr (differentiated)
    return body(differentiable_score<Scalar>(score), options);
  else
    return body(checked_score<Scalar>(score), options);
}

}  // namespace detail

}  // namespace eigenformer::inline EIGENFORMER_ABI
