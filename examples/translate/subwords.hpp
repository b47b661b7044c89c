// The subword models of a translation model's languages. Without SentencePiece the functions throw, except that
// models without subwords work.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "eigenformer/text/bleu.hpp"
#include "translate/program.hpp"

namespace translate {

/// What the options of `translate train` say of one language's subwords.
struct SubwordChoice {
  ef::Index size = 0;  // of the vocabulary to learn; 0: none is learnt
  std::string file;    // of a model to use; empty: none

  bool is_given() const { return size > 0 || !file.empty(); }
};
SubwordChoice source_subwords(const TrainArguments& arguments);
SubwordChoice target_subwords(const TrainArguments& arguments);

/// Throws if options on subwords contradict each other, or this program was built without SentencePiece.
void check_subword_options(const TrainArguments& arguments);

/// Learns a subword model from lines, or reads it.
std::shared_ptr<const ef::SubwordModel> make_subwords(const SubwordChoice& choice, const std::string& type,
                                                      const std::vector<std::string>& lines);

/// Reads the subword model of a model folder: a SubwordReader.
std::shared_ptr<const ef::SubwordModel> read_subwords(std::string bytes, const std::string& name);

/// Returns whether the options ask for random splits. Throws if they ask for a kind that neither language's model has.
bool samples_subwords(const TrainArguments& arguments, const Model& model);
/// Returns how to split text at random.
ef::SubwordSampling subword_sampling(const TrainArguments& arguments);

/// Returns a line as its readers see it: joins the words that subword-nmt has split.
std::string plain(const ef::TranslationSide& side, const std::string& line);
std::vector<std::string> plain(const ef::TranslationSide& side, const std::vector<std::string>& lines);

/// Returns how BLEU splits these references: into characters if they are written without spaces between words.
ef::BleuTokenizer bleu_tokenizer(const ef::TranslationSide& side, const std::vector<std::string>& references);

}  // namespace translate
