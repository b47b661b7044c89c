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
  Translator(const Model& model, ef::Threads* threads) : model_(model), packed_(model.transformer), threads_(threads) {}

  /// The translation of each line, greedily decoded, many at once. where: what an Error calls the lines' file.
  std::vector<std::string> translate(std::span<const std::string> lines, const std::string& where) const;

 private:
  const Model& model_;
  ef::PackedWeights<float> packed_;
  ef::Threads* threads_;
};

/// What each target token attended to when the model was given both sentences.
struct Alignment {
  std::vector<std::string> source;  // tokens, the end token last
  std::vector<std::string> target;
  ef::Matrix<float> weights;  // [target x source]: of the decoder's attention to the encoder
};

/// layer and head are counted from 1; layer 0 is the last one, head 0 the mean over all.
Alignment attention_between(const Model& model, const std::string& source, const std::string& target, int layer,
                            int head);

}  // namespace translate
