// A parallel English-Chinese corpus that needs no file: what the translation program is shown with.
#pragma once

#include <cstdint>

#include "eigenformer/text/corpus.hpp"

namespace translate {

/// Nearly 8,000 different English sentences, each with its translation into simplified Chinese, in random order. Words
/// are parted by single spaces; there are 2 to 12 in a sentence. The two languages order their words differently (times
/// and places stand before the Chinese verb, relative clauses before their noun) and words depend on what they stand
/// with (measure words on the noun; "play" on what is played), so that there is something for attention to find.
///
/// The same on every platform; another seed draws other sentences of the same grammar.
eigenformer::ParallelCorpus demo_corpus(std::uint64_t seed = 1);

}  // namespace translate
