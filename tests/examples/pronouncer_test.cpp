// Tests the published grapheme-to-phoneme model, if it is present next to this project.
#include "g2p/pronouncer.hpp"

#include <filesystem>
#include <fstream>

#include "eigenformer/core/check.hpp"
#include "support/catch.hpp"

TEST_CASE("the published model's pronunciations are those that were published", "[examples]") {
  const std::filesystem::path folder = std::filesystem::path(TESTS_FOLDER) / "../../shared/models/g2p-en";
  if (!std::filesystem::exists(folder)) {
    WARN("skipped: there is no folder shared/models/g2p-en beside the project");
    return;
  }
  std::ifstream expected(folder / "expected.tsv");
  std::vector<std::string> words, phonemes;
  for (std::string line; std::getline(expected, line);) {
    words.push_back(line.substr(0, line.find('\t')));
    phonemes.push_back(line.substr(line.find('\t') + 1));
  }
  REQUIRE(words.size() == 100);
  CHECK(g2p::Pronouncer(folder).pronounce(words) == phonemes);
}

TEST_CASE("a folder without the model is refused by name", "[examples]") {
  CHECK_THROWS_AS(g2p::Pronouncer("no such folder"), eigenformer::Error);
}
