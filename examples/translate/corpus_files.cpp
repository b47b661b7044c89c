#include "translate/corpus_files.hpp"

#include <algorithm>
#include <filesystem>

#include "eigenformer/text/alignment_labels.hpp"

namespace translate {

namespace {

/// Opens the files of the corpus. A buffer has 16 blocks or more, so that it mixes pairs from many places.
ef::LineBlocks open_corpus(const TrainArguments& arguments, ef::Threads* threads) {
  std::vector<std::filesystem::path> paths{arguments.pairs};
  if (arguments.pairs.empty()) paths = {arguments.source, arguments.target};
  if (!arguments.guided_alignment.links.empty()) paths.emplace_back(arguments.guided_alignment.links);
  return ef::LineBlocks(paths, {.block_lines = std::clamp<ef::Index>(arguments.shuffle_buffer / 16, 1, 4096),
                                .max_piped_lines = arguments.shuffle_buffer,
                                .threads = threads});
}

}  // namespace

CorpusFiles::CorpusFiles(const TrainArguments& arguments, ef::Threads* threads)
    : pair_files_(arguments.pairs.empty() ? 2 : 1),
      has_links_(!arguments.guided_alignment.links.empty()),
      shuffle_buffer_(arguments.shuffle_buffer),
      max_length_(arguments.max_length),
      blocks_(open_corpus(arguments, threads)) {}

ef::Tokenization CorpusFiles::guess_tokenization(bool is_source) const {
  ef::TokenizationGuess guess;
  for (std::string_view line : blocks_.head(pair_files_ == 2 && !is_source ? 1 : 0)) {
    if (pair_files_ == 1) {
      const std::size_t tab = line.find('\t');
      if (tab == std::string_view::npos) continue;
      line = is_source ? line.substr(0, tab) : line.substr(tab + 1, line.find('\t', tab + 1) - tab - 1);
    }
    if (ef::find_invalid_utf8(line) == std::string_view::npos) guess.add(line);  // the pass names an invalid line
  }
  return guess.tokenization();
}

ef::ParallelCorpus CorpusFiles::pairs_with_numbers(const std::vector<ef::Index>& numbers) const {
  ef::ParallelCorpus corpus;
  for (std::size_t i = 0; i < numbers.size();) {
    const ef::LineBlock block = blocks_.read(numbers[i] / blocks_.block_lines());
    for (; i < numbers.size() && numbers[i] < block.first() + block.size(); ++i) {
      const ef::SentencePair found = pair(block, numbers[i] - block.first());
      corpus.source.emplace_back(found.source);
      corpus.target.emplace_back(found.target);
    }
  }
  return corpus;
}

void CorpusFiles::check_links(const ef::LineBlock& block, ef::Index i, ef::Index source_tokens,
                              ef::Index target_tokens) const {
  if (!has_links_) return;
  const ef::WordAlignment of_pair = links(block, i);
  if (std::max(source_tokens, target_tokens) > max_length_) return;
  ef::StoredAlignments().add(of_pair, source_tokens, target_tokens, where_links(block, i));
}

}  // namespace translate
