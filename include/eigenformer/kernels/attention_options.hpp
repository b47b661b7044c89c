// The options of an attention call.
#pragma once

#include <optional>
#include <span>
#include <type_traits>

#include "eigenformer/core/rng.hpp"
#include "eigenformer/core/row_offsets.hpp"
#include "eigenformer/core/threads.hpp"

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

}  // namespace eigenformer::inline EIGENFORMER_ABI
