#include "translate/translator.hpp"

#include <algorithm>

#include "eigenformer/decode/beam_search.hpp"
#include "translate/weights.hpp"

namespace translate {

void check_known(const ef::TranslationSide& target, const std::string& text, const std::string& where) {
  const std::vector<std::string> parts = target.tokenize(text);
  const std::vector<ef::Token> tokens = target.vocabulary.encode(parts);
  for (std::size_t i = 0; i < parts.size(); ++i)
    ef::check(tokens[i] != ef::Vocabulary::unknown || parts[i] == target.vocabulary.token(ef::Vocabulary::unknown),
              where, ": the model does not know \"", parts[i], '"');
}

Translator::Translator(const Model& model, ef::Threads* threads, const DecodingArguments& arguments)
    : model_(model),
      packed_(std::make_shared<const ef::PackedWeights<float>>(model.network,
                                                               arguments.weights.value_or(ef::WeightType::float32))),
      threads_(threads) {
  if (arguments.weights.has_value()) report_weights(model, *packed_);
  set_options(arguments);
}

Translator::Translator(const Translator& other, const DecodingArguments& arguments)
    : model_(other.model_), packed_(other.packed_), threads_(other.threads_) {
  set_options(arguments);
}

void Translator::set_options(const DecodingArguments& arguments) {
  options_ = arguments.options;
  const DecodingNames& names = arguments.names;
  for (const std::string& text : arguments.suppress) {
    encode_target(text, names.suppress);  // throws if it is not UTF-8 or too long
    add_spellings(text, names.suppress);
  }
  // The limit depends on the sentence alone, so that a translation does not depend on its batch.
  const ef::Index limit = max_length(model_);
  if (options_.max_decoding_length == 0 || options_.max_decoding_length > limit) options_.max_decoding_length = limit;
  if (!arguments.end_tokens.empty()) options_.end_token = end_tokens(arguments.end_tokens, names.end_token);
  check_together(options_, names);
  ef::check_options(options_, "decoding");
}

/// Forbids a text as a line of its own, and every token that spells it with a mark at its sides: of a joiner or a
/// space.
void Translator::add_spellings(const std::string& text, const char* where) {
  const ef::Vocabulary& vocabulary = model_.target.vocabulary;
  const std::string joiner = "\xEF\xBF\xAD", space = "\xE2\x96\x81";  // U+FFED of words, U+2581 of subwords
  const bool splits_words = model_.target.subwords == nullptr && model_.target.tokenization == ef::Tokenization::words;
  std::vector<std::string> marked;
  if (splits_words) marked = {joiner + text, text + joiner};
  if (model_.target.subwords != nullptr) marked = {text, space + text};
  const std::size_t before = options_.suppress_sequences.size();
  for (const std::string& token : marked)
    if (!text.empty() && vocabulary.contains(token) && vocabulary.id(token) > ef::Vocabulary::end)
      options_.suppress_sequences.push_back({vocabulary.id(token)});
  const std::vector<ef::Token> line = model_.target.encode(text);
  const bool is_known = std::find(line.begin(), line.end(), ef::Vocabulary::unknown) == line.end();
  if (!is_known && options_.suppress_sequences.size() > before) return;
  check_known(model_.target, text, where);
  options_.suppress_sequences.push_back(line);
}

ef::EndTokens Translator::end_tokens(std::span<const std::string> texts, const char* where) const {
  constexpr std::size_t most = 64;  // a search keeps as many more candidates for each hypothesis
  ef::check(texts.size() <= most, where, ": has ", texts.size(), " tokens, expected at most ", most);
  std::vector<ef::Token> tokens;
  for (const std::string& text : texts) {
    ef::check(model_.target.vocabulary.contains(text), where, ": \"", text,
              "\" is not one of the model's target tokens, expected a line of target_vocabulary.txt");
    tokens.push_back(model_.target.vocabulary.id(text));
  }
  return tokens;
}

std::vector<ef::Token> Translator::encode(const ef::TranslationSide& side, const std::string& line,
                                          const std::string& where) const {
  ef::check_utf8(line, where);
  std::vector<ef::Token> tokens = side.encode(line);
  check_sentence_length(tokens.size(), model_, where);
  return tokens;
}

std::vector<ef::Token> Translator::encode(const std::string& line, const std::string& where) const {
  return encode(model_.source, line, where);
}

std::vector<ef::Token> Translator::encode_target(const std::string& line, const std::string& where) const {
  return encode(model_.target, line, where);
}

std::vector<std::string> Translator::translate(std::span<const std::string> lines, const std::string& where) const {
  std::vector<std::vector<ef::Token>> sources;
  for (std::size_t i = 0; i < lines.size(); ++i)
    sources.push_back(encode(lines[i], where + ':' + std::to_string(i + 1)));
  std::vector<std::string> translations;
  for (const std::vector<ef::Hypothesis>& best : decode(sources)) translations.push_back(text(best.front()));
  return translations;
}

std::vector<std::vector<ef::Hypothesis>> Translator::decode(std::span<const std::vector<ef::Token>> sources,
                                                            std::span<const std::vector<ef::Token>> prefixes,
                                                            ef::Index first_line) const {
  std::vector<std::vector<ef::Token>> with_ends(sources.begin(), sources.end());
  for (std::vector<ef::Token>& source : with_ends) source.push_back(ef::Vocabulary::end);
  ef::DecodingOptions options = options_;
  options.target_prefix = prefixes;
  options.first_sentence = first_line;
  std::vector<ef::Index> limits;  // an empty line has an empty translation
  for (const std::vector<ef::Token>& source : sources)
    limits.push_back(source.empty() ? 0 : options.max_decoding_length);
  options.limits = limits;
  ef::Workspace workspace;
  const ef::Context<float> context{.workspace = &workspace, .threads = threads_, .packed = packed_.get()};
  return ef::beam_search(model_.network, ef::Tokens::of(with_ends), options, context);
}

}  // namespace translate
