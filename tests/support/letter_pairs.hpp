// A subword model for tests that needs no library: it splits words into pairs of letters.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "eigenformer/text/subwords.hpp"
#include "eigenformer/text/utf8.hpp"

namespace eigenformer::testing {

/// Splits "hello ab" into "_he", "ll", "o", "_ab". Random splits have pieces of one or two letters.
class LetterPairs final : public SubwordModel {
 public:
  explicit LetterPairs(std::string letters) : letters_(std::move(letters)) {}

  SubwordType type() const override { return SubwordType::unigram; }
  std::vector<std::string> encode(std::string_view line) const override {
    return split(line, [] { return 2; });
  }
  std::vector<std::string> sample(std::string_view line, const SubwordSampling&, Rng& rng) const override {
    return split(line, [&] { return 1 + rng.randint(2); });
  }
  std::string decode(std::span<const std::string> pieces) const override {
    std::string line;
    for (const std::string& piece : pieces)
      for (const char c : piece) line += c == '_' ? ' ' : c;
    return line.substr(line.find_first_not_of(' ') == std::string::npos ? line.size() : line.find_first_not_of(' '));
  }
  std::vector<std::string> pieces() const override {
    std::vector<std::string> all;
    for (const std::string& begin : {std::string("_"), std::string()})
      for (const char a : letters_) {
        all.push_back(begin + a);
        for (const char b : letters_) all.push_back(begin + a + b);
      }
    return all;
  }
  const std::string& bytes() const override { return letters_; }

 private:
  template <class Size>
  static std::vector<std::string> split(std::string_view line, Size&& size) {
    std::vector<std::string> pieces;
    for (const std::string_view word : split_words(line))
      for (std::size_t i = 0; i < word.size();) {
        const std::string_view letters = word.substr(i, static_cast<std::size_t>(size()));
        pieces.push_back((i == 0 ? "_" : "") + std::string(letters));
        i += letters.size();
      }
    return pieces;
  }

  std::string letters_;
};

}  // namespace eigenformer::testing
