// Converts English words to phonemes with a published model (g2p-en, Kyubyong Park): one GRU encodes, one GRU decodes,
// and there is no attention.
#pragma once

#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "eigenformer/models/recurrent_seq2seq.hpp"

namespace g2p {

namespace ef = eigenformer;

class Pronouncer {
 public:
  /// Loads model.safetensors and vocabulary.json from the folder. Throws if they do not describe a g2p-en model.
  explicit Pronouncer(const std::filesystem::path& folder);

  /// Returns the phonemes of each word, separated by spaces. ASCII letters are lower-cased; every byte that the model
  /// does not know becomes `<unk>`.
  std::vector<std::string> pronounce(std::span<const std::string> words) const;

 private:
  ef::RecurrentSeq2Seq<float> network_;
  std::map<std::string, ef::Token> graphemes_;
  std::vector<std::string> phonemes_;
};

}  // namespace g2p
