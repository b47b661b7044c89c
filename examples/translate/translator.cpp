#include "translate/translator.hpp"

#include "eigenformer/decode/greedy.hpp"
#include "eigenformer/text/token_batches.hpp"

namespace translate {

std::vector<std::string> Translator::translate(std::span<const std::string> lines, const std::string& where) const {
  std::vector<std::vector<ef::Token>> sources;
  std::vector<ef::Index> lengths;
  const ef::Index limit = max_length(model_);
  for (std::size_t i = 0; i < lines.size(); ++i) {
    ef::check_utf8(lines[i], where + ':' + std::to_string(i + 1));
    sources.push_back(model_.source.encode(lines[i]));
    lengths.push_back(static_cast<ef::Index>(sources.back().size()) + 1);
    ef::check(lengths.back() <= limit, where, ':', i + 1, ": the sentence has ", lengths.back() - 1,
              " tokens, the model's limit is ", limit - 1);
  }
  std::vector<std::string> translations(lines.size());
  ef::Workspace workspace;
  for (const std::vector<ef::Index>& batch : ef::token_batches(lengths, lengths, std::max<ef::Index>(2048, limit))) {
    const ef::Tokens source = ef::translation_batch(sources, sources, batch).source;
    const ef::Context<float> context{.workspace = &workspace, .threads = threads_, .packed = &packed_};
    // A translation is rarely more than twice as long as its source, whichever way each is cut into tokens; words to
    // characters may be four times.
    const ef::GreedyOptions options{.most_tokens = std::min(limit, 20 + 4 * source.rows.longest())};
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
