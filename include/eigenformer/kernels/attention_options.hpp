// The options of an attention call.
#pragma once

#include <optional>
#include <span>
#include <type_traits>

#include "eigenformer/core/rng.hpp"
#include "eigenformer/core/row_offsets.hpp"
#include "eigenformer/core/threads.hpp"
#include "eigenformer/core/workspace.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// The order of the dimensions of tensors of rank 4. The last dimension is the width of a head.
enum class AttentionDimensions { batch_heads_tokens, batch_tokens_heads };

/// Keys in pages: a cache that grows page by page, in which sequences share the pages of a common prefix without copies
/// (as in vLLM: Kwon et al. 2023, arXiv 2309.06180). Page p is rows p * page_size to (p + 1) * page_size - 1 of k and
/// v.
struct KeyPages {
  Index page_size = 0;
  // The pages of all sequences, one sequence after the other; each has as many pages as its keys need. They must
  // outlive the call.
  std::span<const Index> pages{};
};

/// Options of an attention call. In matrices, heads are column blocks of q, k, v and the result. Tensors have
/// dimensions for batch, heads and tokens: they give the number of heads, and a sequence is an entry of the batch.
/// Other numbers in heads (but 1) and key_heads (but 0) throw.
struct AttentionOptions {
  Index heads = 1;      // of matrices
  Index key_heads = 0;  // of matrices. 0: as many as heads. Each key head serves heads / key_heads consecutive heads
  std::optional<double> scale{};  // factor of the scores; by default 1 / sqrt(width of a key head)
  // Rows of each sequence; by default one sequence. For tensors: the lengths of the sequences; by default all tokens.
  // Later tokens are padding and are not read. attention() returns zeros there; attention_forward does not write them.
  RowOffsets query_rows{};
  RowOffsets key_rows{};  // keys of each sequence (rows of k and v); as many sequences as in query_rows
  AttentionDimensions dimensions = AttentionDimensions::batch_heads_tokens;  // of tensors
  // The rows of k and v to read, if keys are not in order (a decoding cache). Keys are numbered consecutively over all
  // sequences of key_rows; key j is row key_index[j]. By default all rows are keys; an empty list means no keys. The
  // backward does not support key_index.
  std::optional<std::span<const Index>> key_index{};
  // The pages that hold the keys; needs key_rows, whose lengths are the numbers of keys. A kernel tile is read in place
  // in two cases, and otherwise copied:
  // - Its rows are adjacent, in one page or in adjacent pages. Pages of 256 rows hold a tile of any width from 64 on.
  // - A single query reads it: the sequence has one query, and each key head one query head.
  // The backward does not support key_pages.
  std::optional<KeyPages> key_pages{};
  // Attention sinks: one score per query head for a key without a value, which takes a share of the weights (Xiao et
  // al. 2023, arXiv 2309.17453; learned in gpt-oss). Empty: none. The span must outlive the call. Log-sum-exps include
  // sinks.
  std::span<const double> sinks{};
  // Dropout rate of the attention weights. With dropout, a sequence may have up to 2^24 keys, and the batch up to 2^30
  // queries and 2^14 heads. dropout_key determines the draws: give each call a new key, such as rng.split().
  double dropout = 0;
  std::optional<RandomKey> dropout_key{};
  Threads* threads = nullptr;
  Workspace* workspace = nullptr;  // memory for the lists of a call; null: the heap
};

/// Stands for the last argument of a call that already has options, and so needs no more.
struct NoOptions {};
/// The type of the argument after a score or options: AttentionOptions after a score, NoOptions after options.
template <class ScoreOrOptions>
using OptionsAfter =
    std::conditional_t<std::is_base_of_v<AttentionOptions, ScoreOrOptions>, NoOptions, AttentionOptions>;

}  // namespace eigenformer::inline EIGENFORMER_ABI
