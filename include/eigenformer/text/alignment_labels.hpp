// Stores the links of a corpus compactly, and turns them into labels for the attention weights of a training batch.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "eigenformer/text/alignment.hpp"
#include "eigenformer/text/tokens.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// The links of many sentence pairs, in eight bytes each. A WordAlignment takes several times as much memory.
class StoredAlignments {
 public:
  /// A link between two tokens, counted from 0 within their sentences.
  struct Link {
    std::int32_t source = 0;
    std::int32_t target = 0;
  };

  /// Adds the links of the next pair. source_tokens, target_tokens: the lengths of its sentences, without special
  /// tokens. where: names the pair in messages. Throws if a link leaves a sentence.
  void add(const WordAlignment& links, Index source_tokens, Index target_tokens, std::string_view where) {
    for (const AlignmentLink& link : links) {
      check(link.source < source_tokens && link.target < target_tokens, where, ": the link ", link.source, '-',
            link.target, " leaves the pair, which has ", source_tokens, " source tokens and ", target_tokens,
            " target tokens; they count from 0");
      links_.push_back({static_cast<std::int32_t>(link.source), static_cast<std::int32_t>(link.target)});
    }
    rows_.push_back(static_cast<Index>(links_.size()));
  }
  /// Adds the pairs of a part, with their links.
  void add(const StoredAlignments& part) {
    if (&part == this) return add(StoredAlignments(part));
    const auto before = static_cast<Index>(links_.size());
    links_.insert(links_.end(), part.links_.begin(), part.links_.end());
    for (Index pair = 0; pair < part.size(); ++pair)
      rows_.push_back(before + part.rows_[static_cast<std::size_t>(pair) + 1]);
  }
  /// Reserves memory for this number of pairs and of their links. Growing step by step would briefly need twice the
  /// memory.
  void reserve(Index pairs, Index links) {
    rows_.reserve(static_cast<std::size_t>(pairs) + 1);
    links_.reserve(static_cast<std::size_t>(links));
  }

  /// Returns the number of pairs.
  Index size() const { return static_cast<Index>(rows_.size()) - 1; }
  /// Returns the number of links of all pairs.
  Index links() const { return static_cast<Index>(links_.size()); }
  bool empty() const { return size() == 0; }
  /// Returns the links of a pair, ordered by source and then target token.
  std::span<const Link> operator[](Index pair) const {
    eigen_assert(pair >= 0 && pair < size());
    const auto first = static_cast<std::size_t>(rows_[static_cast<std::size_t>(pair)]);
    const auto last = static_cast<std::size_t>(rows_[static_cast<std::size_t>(pair) + 1]);
    return std::span(links_).subspan(first, last - first);
  }

 private:
  std::vector<Link> links_;
  std::vector<Index> rows_{0};
};

/// Returns the labels of a batch's attention weights: TranslationBatch::alignment.
///
/// Row t of a target predicts target token t, counted from 0 without the begin token. So the link s-t becomes a label
/// for source token s in row t. A row's labels share its weight equally, and rows without links have no labels (Garg et
/// al. 2019, arXiv 1909.02074, section 4.2). The row that predicts the end token has none.
///
/// chosen: the pairs of the batch, in its order; batch: what translation_batch() returned for them. Throws if the
/// numbers differ, a pair does not exist, or a link leaves its sentences.
inline std::vector<AlignmentLabel> alignment_labels(const StoredAlignments& alignments, std::span<const Index> chosen,
                                                    const TranslationBatch& batch) {
  const auto pairs = static_cast<Index>(chosen.size());
  check(batch.target.sequences() == pairs && batch.source.sequences() == pairs, "alignment_labels: ", pairs,
        " pairs are chosen, the batch has ", batch.source.sequences(), " sources and ", batch.target.sequences(),
        " targets");
  std::vector<AlignmentLabel> labels;
  std::vector<Index> links_of_word;
  for (Index i = 0; i < pairs; ++i) {
    const Index pair = chosen[static_cast<std::size_t>(i)];
    check(pair >= 0 && pair < alignments.size(), "alignment_labels: there is no pair ", pair, ", only 0 to ",
          alignments.size() - 1);
    const auto source_tokens = static_cast<Index>(batch.source[i].size()) - 1;  // the last is the end token
    const auto target_tokens = static_cast<Index>(batch.target[i].size()) - 1;  // the first is the begin token
    links_of_word.assign(static_cast<std::size_t>(std::max<Index>(target_tokens, 0)), 0);
    for (const StoredAlignments::Link& link : alignments[pair]) {
      check(link.source < source_tokens && link.target < target_tokens, "alignment_labels: pair ", pair,
            " has the link ", link.source, '-', link.target, ", but in the batch it has ", source_tokens,
            " source tokens and ", target_tokens, " target tokens");
      ++links_of_word[static_cast<std::size_t>(link.target)];
    }
    const Index first_row = batch.target.rows.given() ? batch.target.rows.begin(i) : 0;
    for (const StoredAlignments::Link& link : alignments[pair])
      labels.push_back({first_row + link.target, link.source,
                        1 / static_cast<double>(links_of_word[static_cast<std::size_t>(link.target)])});
  }
  return labels;
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
