// Keys that are named by their rows, so that hypotheses may share them.
#pragma once

#include <optional>
#include <span>

#include "eigenformer/core/row_offsets.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// Which keys and values each sequence's queries attend to in decoding. Sequence s sees the rows
/// key_index[key_rows.begin(s)] to key_index[key_rows.end(s) - 1]; hypotheses of one sentence may name the same rows.
struct IndexedKeys {
  RowOffsets query_rows{};  // the sequences of the queries, mostly one row each
  RowOffsets key_rows{};    // each sequence's part of key_index
  // Rows of keys and values; their owner must outlive this. An empty list names no keys; by default all rows are keys.
  std::optional<std::span<const Index>> key_index{};
};

}  // namespace eigenformer::inline EIGENFORMER_ABI
