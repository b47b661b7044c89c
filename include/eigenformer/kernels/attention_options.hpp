// The options of an attention call.
#pragma once

#include <optional>
#include <span>
#include <type_traits>

#include "eigenformer/core/rng.hpp"
#include "eigenformer/core/row_offsets.hpp"
#include "eigenformer/core/threads.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// Options of an attention call. Heads are column blocks of q, k, v and the result.
struct AttentionOptions {
  Index heads = 1;
  Index key_heads = 0;            // 0: heads. If fewer, each serves heads / key_heads consecutive query heads
  std::optional<double> scale{};  // factor of the scores; by default 1 / sqrt(width of a key head)
  RowOffsets query_rows{};        // rows of each sequence; by default one sequence
  RowOffsets key_rows{};          // rows of k and v of each sequence; as many sequences as query_rows
  // The rows of k and v to read, if keys are not in order (a decoding cache). Key j, counted over all sequences in
  // key_rows, is row key_index[j]. By default all rows are keys; an empty list means no keys. The backward does not
  // support it.
  std::optional<std::span<const Index>> key_index{};
  double dropout = 0;  // rate for the attention weights, drawn with dropout_key
  RandomKey dropout_key{};
  Threads* threads = nullptr;
};

/// The type of a call's last argument: AttentionOptions after a score, NoOptions after options.
struct NoOptions {};
template <class ScoreOrOptions>
using OptionsAfter =
    std::conditional_t<std::is_base_of_v<AttentionOptions, ScoreOrOptions>, NoOptions, AttentionOptions>;

}  // namespace eigenformer::inline EIGENFORMER_ABI
