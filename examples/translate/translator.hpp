// Translates text with a trained model.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "eigenformer/decode/hypothesis.hpp"
#include "translate/program.hpp"

namespace translate {

/// Throws if the model does not know a part of a text in the target language. A part that reads `<unk>` is allowed.
/// where: begins the error message.
void check_known(const ef::TranslationSide& target, const std::string& text, const std::string& where);

/// Translates with one model. The model must outlive the translator and must not change.
class Translator {
 public:
  /// Without arguments, decodes greedily.
  Translator(const Model& model, ef::Threads* threads, const DecodingArguments& arguments = {});
  /// Decodes with other options, but shares the model and the packed weights.
  Translator(const Translator& other, const DecodingArguments& arguments);

  /// Returns the tokens of a line in the source language. Throws if the line is not UTF-8 or too long.
  /// where: names the line in the error message.
  std::vector<ef::Token> encode(const std::string& line, const std::string& where) const;
  /// Returns the tokens of a line in the target language, such as a prefix or a reference. Throws as encode() does.
  std::vector<ef::Token> encode_target(const std::string& line, const std::string& where) const;

  /// Returns the best hypotheses of each encoded line. An empty line has one empty hypothesis.
  /// prefixes: the first tokens of each translation; empty: none.
  /// first_line: number of the first line; random draws depend on the line's number.
  std::vector<std::vector<ef::Hypothesis>> decode(std::span<const std::vector<ef::Token>> sources,
                                                  std::span<const std::vector<ef::Token>> prefixes = {},
                                                  ef::Index first_line = 0) const;

  /// Returns the options in force: those of the constructor, with the model's limits and tokens.
  const ef::DecodingOptions& options() const { return options_; }

  /// Returns the text of a hypothesis.
  std::string text(const ef::Hypothesis& hypothesis) const { return model_.target.decode(hypothesis.tokens); }

  /// Returns the best translation of each line. Throws if a line is not UTF-8 or too long.
  /// where: names the file of the lines in the error message.
  std::vector<std::string> translate(std::span<const std::string> lines, const std::string& where) const;

 private:
  void set_options(const DecodingArguments& arguments);
  void add_spellings(const std::string& text, const char* where);
  ef::EndTokens end_tokens(std::span<const std::string> texts, const char* where) const;
  std::vector<ef::Token> encode(const ef::TranslationSide& side, const std::string& line,
                                const std::string& where) const;

  const Model& model_;
  std::shared_ptr<const ef::PackedWeights<float>> packed_;
  ef::Threads* threads_;
  ef::DecodingOptions options_;
};

}  // namespace translate
