#include "translate/readings.hpp"

#include <span>
#include <utility>

#include "eigenformer/kernels/softmax.hpp"

namespace translate {

namespace {

/// Both sentences as tokens and as a batch for the model.
struct SentencePair {
  SentencePair(const Model& model, const TokenPair& tokens) {
    reading.source = tokens.source;
    reading.target = tokens.target;
    batch = ef::translation_batch(std::span(&tokens.source_ids, 1), std::span(&tokens.target_ids, 1),
                                  std::vector<ef::Index>{0});
    reading.source.push_back(model.source.vocabulary.token(ef::Vocabulary::end));
    reading.target.push_back(model.target.vocabulary.token(ef::Vocabulary::end));
  }

  Reading reading;
  ef::TranslationBatch batch;
};

void check_layer_and_head(const ef::Transformer<float>& network, int layer, int head) {
  const auto layers = static_cast<int>(network.decoder.layers.size());
  const auto heads = static_cast<int>(network.options.layer.heads);
  ef::check(layers > 0 && layer >= 0 && layer <= layers, "--layer: is ", layer, ", the model has ", layers,
            " decoder layers");
  ef::check(head >= 0 && head <= heads, "--head: is ", head, ", the model has ", heads, " heads in each layer");
}
void check_layer_and_head(const ef::RecurrentSeq2Seq<float>& network, int layer, int head) {
  ef::check(network.options.context == ef::SourceContext::attention, "this model has no attention, its context is ",
            ef::to_string(network.options.context), "; `align --reading influence` works without attention");
  ef::check(layer <= 1, "--layer: is ", layer, ", a recurrent model has one attention layer");
  ef::check(head <= 1, "--head: is ", head, ", a recurrent model has one attention head");
}

/// Returns the values. Throws if one of them is not finite.
ef::Matrix<float> finite(ef::Matrix<float> values, const char* name) {
  ef::check(values.allFinite(), name, ": the model gives no finite numbers; its parameters may be damaged");
  return values;
}

}  // namespace

TokenPair tokenize_pair(const Model& model, const std::string& source, const std::string& target) {
  ef::check_utf8(source, "source sentence");
  ef::check_utf8(target, "target sentence");
  TokenPair pair{model.source.tokenize(source), model.target.tokenize(target), {}, {}};
  pair.source_ids = model.source.vocabulary.encode(pair.source);
  pair.target_ids = model.target.vocabulary.encode(pair.target);
  return pair;
}

AttentionSize attention_size(const Model& model) {
  if (const auto* transformer = std::get_if<ef::Transformer<float>>(&model.network))
    return {static_cast<ef::Index>(transformer->decoder.layers.size()), transformer->options.layer.heads};
  const auto& recurrent = std::get<ef::RecurrentSeq2Seq<float>>(model.network);
  const ef::Index one = recurrent.options.context == ef::SourceContext::attention ? 1 : 0;
  return {one, one};
}

void check_layer_and_head(const Model& model, int layer, int head) {
  std::visit([&](const auto& network) { check_layer_and_head(network, layer, head); }, model.network);
}

ef::Matrix<float> attention_of(const ef::Transformer<float>& network, const ef::AttentionRecorder<float>& recorder,
                               int layer, int head) {
  check_layer_and_head(network, layer, head);
  const auto& layers = network.decoder.layers;
  const auto heads = static_cast<int>(network.options.layer.heads);
  if (layer == 0 && head == 0) head = static_cast<int>(network.options.alignment_head);
  const ef::Tensor<float>& weights = recorder.weights(
      layer == 0 ? network.alignment_attention() : layers[static_cast<std::size_t>(layer - 1)].multihead_attn);
  if (head > 0) return finite(weights.matrix(head - 1), "attention");
  ef::Matrix<float> mean = weights.matrix(0) / static_cast<float>(heads);
  for (int h = 1; h < heads; ++h) mean += weights.matrix(h) / static_cast<float>(heads);
  return finite(std::move(mean), "attention");
}

ef::Matrix<float> attention_of(const ef::RecurrentSeq2Seq<float>& network, const ef::AttentionRecorder<float>& recorder,
                               int layer, int head) {
  check_layer_and_head(network, layer, head);
  return finite(recorder.weights(network.attention).matrix(0), "attention");
}

Reading attention_between(const Model& model, const TokenPair& tokens, int layer, int head) {
  SentencePair pair(model, tokens);
  std::visit(
      [&](const auto& network) {
        ef::AttentionRecorder<float> recorder;
        network({.attention = &recorder}, pair.batch.source, pair.batch.target);
        pair.reading.values = attention_of(network, recorder, layer, head);
      },
      model.network);
  pair.reading.shades = pair.reading.values;
  return pair.reading;
}

Reading attention_between(const Model& model, const std::string& source, const std::string& target, int layer,
                          int head) {
  return attention_between(model, tokenize_pair(model, source, target), layer, head);
}

Reading influence_between(const Model& model, const TokenPair& tokens, const std::function<bool()>& cancelled) {
  SentencePair pair(model, tokens);
  const auto log_probabilities = [&](const ef::Tokens& seen) {
    const ef::Matrix<float> all =
        std::visit([&](const auto& network) { return ef::log_softmax(network({}, seen, pair.batch.target).value()); },
                   model.network);
    Eigen::VectorXf of_next(all.rows());
    for (ef::Index i = 0; i < all.rows(); ++i) of_next[i] = all(i, pair.batch.next[static_cast<std::size_t>(i)]);
    return of_next;
  };
  const Eigen::VectorXf all_seen = log_probabilities(pair.batch.source);
  ef::Matrix<float>& values = pair.reading.values;
  values.resize(all_seen.size(), static_cast<ef::Index>(pair.batch.source.ids.size()));
  for (ef::Index j = 0; j < values.cols(); ++j) {
    ef::check(cancelled == nullptr || !cancelled(), "influence_between: cancelled");
    ef::Tokens seen = pair.batch.source;
    seen.ids[static_cast<std::size_t>(j)] = ef::Vocabulary::unknown;
    values.col(j) = all_seen - log_probabilities(seen);
  }
  values = finite(std::move(values), "influence");
  pair.reading.shades = (1 - (-values.array()).exp()).max(0.0F).matrix();
  return pair.reading;
}

ef::WordAlignment links_of(const Reading& reading) {
  return ef::best_links(reading.values.topLeftCorner(reading.values.rows() - 1, reading.values.cols() - 1));
}

}  // namespace translate
