// What a trained model is used for.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "translate/program.hpp"

namespace translate {

/// Translates with a model that stays as it is.
class Translator {
 public:
  Translator(const Model& model, ef::Threads* threads) : model_(model), packed_(model.network), threads_(threads) {}

  /// A line as the model reads it. Throws if it is not UTF-8 or too long; where: what the Error calls the line.
  std::vector<ef::Token> encode(const std::string& line, const std::string& where) const;

  /// The translation of each encoded line, greedily decoded, many at once.
  std::vector<std::string> translate(std::span<const std::vector<ef::Token>> sources) const;

  /// The translation of each line. where: what an Error calls the lines' file.
  std::vector<std::string> translate(std::span<const std::string> lines, const std::string& where) const;

 private:
  const Model& model_;
  ef::PackedWeights<float> packed_;
  ef::Threads* threads_;
};

}  // namespace translate
