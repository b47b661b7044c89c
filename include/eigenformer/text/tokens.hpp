// Ragged batches of token sequences, as models take them.
#pragma once

#include <span>
#include <utility>
#include <vector>

#include "eigenformer/core/row_offsets.hpp"
#include "eigenformer/text/alignment_label.hpp"
#include "eigenformer/text/vocabulary.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// A ragged batch of token sequences. Row r of the activations belongs to ids[r]. Without rows, all ids form one
/// sequence.
struct Tokens {
  std::vector<Token> ids;
  RowOffsets rows;

  static Tokens of(std::span<const std::vector<Token>> sequences) {
    Tokens tokens;
    std::vector<Index> offsets{0};
    offsets.reserve(sequences.size() + 1);
    for (const std::vector<Token>& sequence : sequences) {
      tokens.ids.insert(tokens.ids.end(), sequence.begin(), sequence.end());
      offsets.push_back(static_cast<Index>(tokens.ids.size()));
    }
    tokens.rows = RowOffsets(std::move(offsets));
    return tokens;
  }

  Index sequences() const { return rows.given() ? rows.sequences() : 1; }
  std::span<const Token> operator[](Index sequence) const {
    eigen_assert(sequence >= 0 && sequence < sequences());
    if (!rows.given()) return ids;
    return std::span(ids).subspan(static_cast<std::size_t>(rows.begin(sequence)),
                                  static_cast<std::size_t>(rows.length(sequence)));
  }
};

/// A training batch of sentences and their translations, for teacher forcing.
struct TranslationBatch {
  Tokens source;            ///< the sentences, each followed by the end token
  Tokens target;            ///< the decoder's input: the begin token, then the translation
  std::vector<Token> next;  ///< the labels of target's rows: the translation, then the end token
  /// What the target's rows should attend to in the source: see alignment_labels(). Only guided_loss() uses it.
  std::vector<AlignmentLabel> alignment{};
};

namespace detail {

/// Returns the batch of the chosen sentence pairs. source_of(i) and target_of(i) return the tokens of sentence i, for
/// 0 <= i < count. Throws if a chosen sentence does not exist.
template <class SourceOf, class TargetOf>
TranslationBatch translation_batch_of(SourceOf&& source_of, TargetOf&& target_of, Index count,
                                      std::span<const Index> chosen) {
  TranslationBatch batch;
  std::vector<Index> source_rows{0};
  std::vector<Index> target_rows{0};
  for (const Index sentence : chosen) {
    check(sentence >= 0 && sentence < count, "translation_batch: there is no sentence ", sentence, ", only 0 to ",
          count - 1);
    const std::span<const Token> source = source_of(sentence);
    const std::span<const Token> target = target_of(sentence);

    batch.source.ids.insert(batch.source.ids.end(), source.begin(), source.end());
    batch.source.ids.push_back(Vocabulary::end);
    source_rows.push_back(static_cast<Index>(batch.source.ids.size()));

    batch.target.ids.push_back(Vocabulary::begin);
    batch.target.ids.insert(batch.target.ids.end(), target.begin(), target.end());
    target_rows.push_back(static_cast<Index>(batch.target.ids.size()));

    batch.next.insert(batch.next.end(), target.begin(), target.end());
    batch.next.push_back(Vocabulary::end);
  }
  batch.source.rows = RowOffsets(std::move(source_rows));
  batch.target.rows = RowOffsets(std::move(target_rows));
  return batch;
}

}  // namespace detail

/// Returns the batch of the chosen sentence pairs. sources, targets: encoded sentences without special tokens. Throws
/// if their numbers differ or a chosen sentence does not exist.
inline TranslationBatch translation_batch(std::span<const std::vector<Token>> sources,
                                          std::span<const std::vector<Token>> targets, std::span<const Index> chosen) {
  check(sources.size() == targets.size(), "translation_batch: ", sources.size(), " sources, ", targets.size(),
        " targets");
  return detail::translation_batch_of([&](Index i) { return std::span(sources[static_cast<std::size_t>(i)]); },
                                      [&](Index i) { return std::span(targets[static_cast<std::size_t>(i)]); },
                                      static_cast<Index>(sources.size()), chosen);
}

/// Returns the batch of the chosen sentence pairs, from sentences in ragged storage. Use it for large corpora:
/// millions of short sentences take several times the memory if each has its own vector. sources, targets: encoded
/// sentences without special tokens. Throws if their numbers differ or a chosen sentence does not exist.
inline TranslationBatch translation_batch(const Tokens& sources, const Tokens& targets, std::span<const Index> chosen) {
  check(sources.sequences() == targets.sequences(), "translation_batch: ", sources.sequences(), " sources, ",
        targets.sequences(), " targets");
  return detail::translation_batch_of([&](Index i) { return sources[i]; }, [&](Index i) { return targets[i]; },
                                      sources.sequences(), chosen);
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
