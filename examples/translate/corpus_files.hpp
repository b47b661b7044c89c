// The files of a training corpus: sentence pairs and, with --alignments, the links between their tokens.
#pragma once

#include <string>
#include <vector>

#include "eigenformer/text/alignment.hpp"
#include "eigenformer/text/corpus.hpp"
#include "eigenformer/text/line_blocks.hpp"
#include "eigenformer/text/tokenizer.hpp"
#include "translate/program.hpp"

namespace translate {

/// Sentence pairs in blocks of lines. Line i of each file belongs to pair i, counted from 0.
class CorpusFiles {
 public:
  /// Opens the files. Throws if one cannot be opened. threads: for the pass over them.
  CorpusFiles(const TrainArguments& arguments, ef::Threads* threads);

  ef::LineBlocks& blocks() { return blocks_; }
  const ef::LineBlocks& blocks() const { return blocks_; }
  /// Returns the number of blocks in the shuffle buffer.
  ef::Index buffer_blocks() const { return (shuffle_buffer_ - 1) / blocks_.block_lines() + 1; }

  /// Guesses the tokenization of one side from the first lines. Call it before the pass over the files.
  ef::Tokenization guess_tokenization(bool is_source) const;

  /// Returns pair i of a block. Throws like ef::sentence_pair.
  ef::SentencePair pair(const ef::LineBlock& block, ef::Index i) const {
    return ef::sentence_pair(block, i, pair_files_);
  }
  /// Returns the pairs with these numbers, which are in order.
  ef::ParallelCorpus pairs_with_numbers(const std::vector<ef::Index>& numbers) const;

  /// Returns whether there are links.
  bool has_links() const { return has_links_; }
  /// Returns the links of pair i of a block. Throws if its line does not hold links.
  ef::WordAlignment links(const ef::LineBlock& block, ef::Index i) const {
    return ef::parse_alignment(block.line(pair_files_, i), where_links(block, i));
  }
  /// Returns the file and the line of these links, for messages.
  std::string where_links(const ef::LineBlock& block, ef::Index i) const { return block.where(pair_files_, i); }
  /// Throws if the line of pair i does not hold links. Throws if a link leaves the pair, unless the pair is skipped
  /// because it is too long. Does nothing if there are no links.
  void check_links(const ef::LineBlock& block, ef::Index i, ef::Index source_tokens, ef::Index target_tokens) const;

 private:
  std::size_t pair_files_;  // the file after them holds the links
  bool has_links_;
  ef::Index shuffle_buffer_, max_length_;
  ef::LineBlocks blocks_;
};

}  // namespace translate
