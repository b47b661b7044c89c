// Encoded sentence pairs, with or without the links between their tokens, and training batches of them.
#pragma once

#include <span>
#include <vector>

#include "eigenformer/text/alignment_labels.hpp"
#include "eigenformer/text/tokens.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// Encoded sentences and their translations, without special tokens. EncodedPairs{} holds no pairs. Set ids and rows
/// together, as Tokens::of does.
struct EncodedPairs {
  Tokens source{{}, RowOffsets{0}};
  Tokens target{{}, RowOffsets{0}};
  StoredAlignments alignments{};  ///< the links of each pair; empty: the pairs have no links

  Index size() const { return source.sequences(); }
};

/// Returns the batch of the chosen pairs. If the pairs have links, so has the batch: see alignment_labels(). Throws if
/// the numbers of sources, targets and alignments differ, or a chosen pair does not exist.
inline TranslationBatch translation_batch(const EncodedPairs& pairs, std::span<const Index> chosen) {
  TranslationBatch batch = translation_batch(pairs.source, pairs.target, chosen);
  if (pairs.alignments.empty()) return batch;
  check(pairs.alignments.size() == pairs.size(), "translation_batch: ", pairs.size(), " pairs, links of ",
        pairs.alignments.size());
  batch.alignment = alignment_labels(pairs.alignments, chosen, batch);
  return batch;
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
