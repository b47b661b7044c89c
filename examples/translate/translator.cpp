#include "translate/translator.hpp"

#include "eigenformer/decode/greedy.hpp"
#include "eigenformer/models/transformer_state.hpp"
#include "eigenformer/text/token_batches.hpp"

namespace translate {

std::vector<std::string> Translator::translate(std::span<const std::string> lines, const std::string& where) const {
  std::vector<std::vector<ef::Token>> sources;
  std::vector<ef::Index> lengths;
  const ef::Index limit = model_.transformer.options.max_length;
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
    ef::TransformerState<float> step(model_.transformer, source,
                                     {.workspace = &workspace, .threads = threads_, .packed = &packed_});
    // A translation is rarely more than twice as long as its source, whichever way each is cut into tokens; words to
    // characters may be four times.
    const ef::GreedyOptions options{.most_tokens = std::min(limit, 20 + 4 * source.rows.longest())};
    const std::vector<ef::Hypothesis> decoded = ef::greedy_search(step, source.sequences(), options);
    for (std::size_t i = 0; i < batch.size(); ++i) {
      const auto line = static_cast<std::size_t>(batch[i]);
      if (!sources[line].empty()) translations[line] = model_.target.decode(decoded[i].tokens);
    }
  }
  return translations;
}

Alignment attention_between(const Model& model, const std::string& source, const std::string& target, int layer,
                            int head) {
  const auto& layers = model.transformer.decoder.layers;
  const auto heads = static_cast<int>(model.transformer.options.heads);
  ef::check(layer >= 0 && layer <= static_cast<int>(layers.size()), "align: layer ", layer, " is asked for, there are ",
            layers.size());
  ef::check(head >= 0 && head <= heads, "align: head ", head, " is asked for, there are ", heads);
  ef::check_utf8(source, "align: source");
  ef::check_utf8(target, "align: target");

  Alignment alignment{
      ef::tokenize(source, model.source.tokenization), ef::tokenize(target, model.target.tokenization), {}};
  const std::vector<std::vector<ef::Token>> sources{model.source.vocabulary.encode(alignment.source)};
  const std::vector<std::vector<ef::Token>> targets{model.target.vocabulary.encode(alignment.target)};
  const ef::TranslationBatch batch = ef::translation_batch(sources, targets, std::vector<ef::Index>{0});
  ef::AttentionRecorder<float> recorder;
  model.transformer({.attention = &recorder}, batch.source, batch.target);

  const std::size_t chosen = layer == 0 ? layers.size() - 1 : static_cast<std::size_t>(layer - 1);
  const ef::Tensor<float, 3>& weights = recorder.weights(layers[chosen].multihead_attn);
  if (head > 0) {
    alignment.weights = weights.matrix(head - 1);
  } else {
    alignment.weights = weights.matrix(0) / static_cast<float>(heads);
    for (int h = 1; h < heads; ++h) alignment.weights += weights.matrix(h) / static_cast<float>(heads);
  }
  alignment.source.push_back(model.source.vocabulary.token(ef::Vocabulary::end));
  alignment.target.push_back(model.target.vocabulary.token(ef::Vocabulary::end));
  return alignment;
}

}  // namespace translate
