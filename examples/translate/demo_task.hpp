// The task of `demo` and `compare`: the demo corpus, split into training and held-out pairs.
#pragma once

#include <utility>

#include "eigenformer/text/corpus.hpp"
#include "translate/program.hpp"

namespace translate {

/// The phrase whose attention `demo` draws. It is always a training pair.
inline constexpr const char* demo_phrase = "natural language processing";

/// Returns the training pairs and the held-out pairs. Every tenth pair of the shuffled corpus is held out.
std::pair<ef::ParallelCorpus, ef::ParallelCorpus> demo_split(std::uint64_t seed);

/// Returns a side that splits text into words. Its vocabulary has all words of the lines.
ef::TranslationSide side_of_words(const std::vector<std::string>& lines);

}  // namespace translate
