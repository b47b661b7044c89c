#include "eigenformer/models/translation_model.hpp"

#include "support/catch.hpp"

namespace ef = eigenformer;

TEST_CASE("a side of a translation model turns text into tokens and back", "[models]") {
  const ef::TranslationSide side{ef::Vocabulary({"<unk>", "<s>", "</s>", "hello", "world"}), ef::Tokenization::words};
  CHECK(side.encode("hello  new world") == std::vector<ef::Token>{3, 0, 4});
  CHECK(side.decode(std::vector<ef::Token>{3, 4}) == "hello world");
}
