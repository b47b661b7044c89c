// A program that learns subwords, which needs the target eigenformer::sentencepiece.
#include <eigenformer/text/sentencepiece.hpp>

namespace ef = eigenformer;

int main() {
  const std::vector<std::string> lines{"the house", "the playhouse", "the play"};
  const auto subwords = ef::train_sentencepiece(lines, {.vocabulary_size = 24, .type = ef::SubwordType::bpe});
  return subwords->decode(subwords->encode("the  playhouse")) == "the playhouse" ? 0 : 1;
}
