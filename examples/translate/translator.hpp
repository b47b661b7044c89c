// Translates text with a trained model.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "translate/program.hpp"

namespace translate {

/// Translates with one model. The model must outlive the translator and must not change.
class Translator {
 public:
  Translator(const Model& model, ef::Threads* threads) : model_(model), packed_(model.network), threads_(threads) {}

  /// Returns the tokens of a line. Throws if the line is not UTF-8 or too long.
  /// where: names the line in the error message.
  std::vector<ef::Token> encode(const std::string& line, const std::string& where) const;

  /// Translates encoded lines in batches, by greedy decoding.
  std::vector<std::string> translate(std::span<const std::vector<ef::Token>> sources) const;

  /// Translates lines in batches, by greedy decoding. Throws if a line is not UTF-8 or too long.
  /// where: names the file of the lines in the error message.
  std::vector<std::string> translate(std::span<const std::string> lines, const std::string& where) const;

 private:
  const Model& model_;
  ef::PackedWeights<float> packed_;
  ef::Threads* threads_;
};

}  // namespace translate
