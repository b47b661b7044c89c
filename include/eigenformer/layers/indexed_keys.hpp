// Keys selected by row number, so that hypotheses can share them.
#pragma once

#include <optional>
#include <span>

#include "eigenformer/core/row_offsets.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// Selects the keys and values that each sequence's queries attend to in decoding. Sequence s attends to the rows
/// key_index[key_rows.begin(s)] to key_index[key_rows.end(s) - 1]. Several sequences may list the same rows.
struct IndexedKeys {
  RowOffsets query_rows{};  // sequences of the queries, usually one row each
  RowOffsets key_rows{};    // each sequence's part of key_index
  // Row numbers of keys and values; their owner must outlive this object. nullopt selects all rows, an empty span none.
  std::optional<std::span<const Index>> key_index{};
  // The place of each sequence's first query among the tokens decoded so far, for scores that depend on it; their owner
  // must outlive this object. nullopt, as for self-attention: the queries are the last tokens of their sequence.
  std::optional<std::span<const Index>> query_offsets{};
};

}  // namespace eigenformer::inline EIGENFORMER_ABI
