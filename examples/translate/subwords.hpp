// The subword models of a translation model's languages. A program built without SentencePiece can use models without
// subwords; functions that need a subword model throw.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "eigenformer/text/bleu.hpp"
#include "translate/program.hpp"

namespace translate {

/// What the options of `translate train` say about one language's subwords.
struct SubwordChoice {
  ef::Index size = 0;  // of the vocabulary to learn; 0: none
  std::string file;    // of a model to use; empty: none

  bool is_given() const { return size > 0 || !file.empty(); }
};
SubwordChoice source_subwords(const TrainArguments& arguments);
SubwordChoice target_subwords(const TrainArguments& arguments);

/// Throws if options on subwords contradict each other, or this program was built without SentencePiece.
void check_subword_options(const TrainArguments& arguments);

/// Reads the chosen subword model, or learns one of this type from lines.
std::shared_ptr<const ef::SubwordModel> make_subwords(const SubwordChoice& choice, const std::string& type,
                                                      const std::vector<std::string>& lines);

/// Makes a subword model from the bytes of a file in a model folder. Serves as a SubwordReader.
std::shared_ptr<const ef::SubwordModel> read_subwords(std::string bytes, const std::string& name);

/// Returns whether the options ask for random splits. Throws if they ask for a kind of random
/// split that neither language's model supports.
bool samples_subwords(const TrainArguments& arguments, const Model& model);
/// Returns how to split text at random.
ef::SubwordSampling subword_sampling(const TrainArguments& arguments);

/// Returns a line as plain text. In a language of bpe_marks, joins the words that subword-nmt has split.
std::string plain(const ef::TranslationSide& side, const std::string& line);
std::vector<std::string> plain(const ef::TranslationSide& side, const std::vector<std::string>& lines);

/// Returns how BLEU splits references: into characters if the tokens of the side are characters, or if they are
/// subwords and the references are mostly Han or kana; otherwise as 13a.
ef::BleuTokenizer bleu_tokenizer(const ef::TranslationSide& side, const std::vector<std::string>& references);

}  // namespace translate
