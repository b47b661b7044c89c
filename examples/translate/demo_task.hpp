// What the demo and the comparison learn: the demo's corpus, a part of it held out.
#pragma once

#include <utility>

#include "eigenformer/text/corpus.hpp"
#include "translate/program.hpp"

namespace translate {

/// The study notes' running example. It is among the pairs that are learnt.
inline constexpr const char* demo_phrase = "natural language processing";

/// The pairs to learn, and those held out: every tenth of the shuffled corpus.
std::pair<ef::ParallelCorpus, ef::ParallelCorpus> demo_split(std::uint64_t seed);

/// One language, cut into words, with all words of these lines.
ef::TranslationSide side_of_words(const std::vector<std::string>& lines);

}  // namespace translate
