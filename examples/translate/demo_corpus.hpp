// A generated English-Chinese corpus for the demo, so that it needs no data file.
#pragma once

#include <cstdint>

#include "eigenformer/text/corpus.hpp"

namespace translate {

/// Returns nearly 8,000 different English sentences with their translations into simplified Chinese, in random order.
/// A sentence has 2 to 12 words, separated by single spaces. Attention has two things to learn:
///   word order   times and places precede the Chinese verb, relative clauses precede their noun
///   word choice  measure words depend on the noun, the translation of "play" on its object
///
/// The corpus is identical on every platform. Another seed draws other sentences from the same grammar.
eigenformer::ParallelCorpus demo_corpus(std::uint64_t seed = 1);

}  // namespace translate
