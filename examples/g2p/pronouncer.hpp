// How English words are spoken: a published model of grapheme-to-phoneme conversion (g2p-en, Kyubyong Park), an encoder
// and a decoder of one GRU each, without attention: pattern 2 of the study notes.
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
  /// Reads model.safetensors and vocabulary.json of the folder. Throws if they are not such a model's.
  explicit Pronouncer(const std::filesystem::path& folder);

  /// Each word's phonemes, with spaces between. Letters are taken as small ones; what is no letter is `<unk>`.
  std::vector<std::string> pronounce(std::span<const std::string> words) const;

 private:
  ef::RecurrentSeq2Seq<float> network_;
  std::map<std::string, ef::Token> graphemes_;
  std::vector<std::string> phonemes_;
};

}  // namespace g2p
