#include "translate/translator.hpp"

#include "eigenformer/decode/greedy.hpp"
#include "eigenformer/text/token_batches.hpp"

namespace translate {

std::vector<ef::Token> Translator::encode(const std::string& line, const std::string& where) const {
  ef::check_utf8(line, where);
  std::vector<ef::Token> source = model_.source.encode(line);
  const ef::Index limit = max_length(model_) - 1;  // the end token needs one place
  ef::check(static_cast<ef::Index>(source.size()) <= limit, where, ": the sentence has ", source.size(),
            " tokens, the model's limit is ", limit);
  return source;
}

std::vector<std::string> Translator::translate(std::span<const std::string> lines, const std::string& where) const {
  std::vector<std::vector<ef::Token>> sources;
  for (std::size_t i = 0; i < lines.size(); ++i)
    sources.push_back(encode(lines[i], where + ':' + std::to_string(i + 1)));
  return translate(sources);
}

std::vector<std::string> Translator::translate(std::span<const std::vector<ef::Token>> sources) const {
  std::vector<ef::Index> lengths;
  for (const std::vector<ef::Token>& source : sources) lengths.push_back(static_cast<ef::Index>(source.size()) + 1);
  const ef::Index limit = max_length(model_);
  ef::Index max_tokens = 2048;  // per batch
  for (const ef::Index length : lengths) max_tokens = std::max(max_tokens, length);
  std::vector<std::string> translations(sources.size());
  ef::Workspace workspace;
  for (const std::vector<ef::Index>& batch : ef::token_batches(lengths, lengths, max_tokens)) {
    const ef::Tokens source = ef::translation_batch(sources, sources, batch).source;
    const ef::Context<float> context{.workspace = &workspace, .threads = threads_, .packed = &packed_};
    // A translation rarely has more than twice the tokens of its source, or four times from words to characters. The
    // limit is set per sentence, so that a translation does not depend on its batch.
    std::vector<ef::Index> limits;
    for (const ef::Index line : batch)
      limits.push_back(std::min(limit, 20 + 4 * lengths[static_cast<std::size_t>(line)]));
    const ef::GreedyOptions options{.limits = limits};
    const std::vector<ef::Hypothesis> decoded = std::visit(
        [&](const auto& network) {
          return ef::greedy_search(ef::decoding_state(network, source, context), source.sequences(), options);
        },
        model_.network);
    for (std::size_t i = 0; i < batch.size(); ++i) {
      const auto line = static_cast<std::size_t>(batch[i]);
      if (!sources[line].empty()) translations[line] = model_.target.decode(decoded[i].tokens);
    }
  }
  return translations;
}

}  // namespace translate
