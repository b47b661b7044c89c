// Reads two things from a model: the attention of each target word, as an alignment, and the influence of each source
// word. Attention as a soft look-up is examples/06_soft_lookup.cpp.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "eigenformer/layers/attention_recorder.hpp"
#include "eigenformer/text/alignment.hpp"
#include "translate/program.hpp"

namespace translate {

/// One number for each pair of a target token and a source token.
struct Reading {
  std::vector<std::string> source;  // tokens; the last is the end token
  std::vector<std::string> target;
  ef::Matrix<float> values;  // [target x source]
  ef::Matrix<float> shades;  // the values as shares from 0 to 1
};

/// The tokens of a sentence and of its translation, without end tokens, and their ids in the model's vocabularies.
struct TokenPair {
  std::vector<std::string> source, target;
  std::vector<ef::Token> source_ids, target_ids;
};

/// Returns the tokens of both sentences. Throws if one is not UTF-8.
TokenPair tokenize_pair(const Model& model, const std::string& source, const std::string& target);

/// The numbers of layers and heads with which a model's decoder attends to the source; 0 without attention.
struct AttentionSize {
  ef::Index layers = 0;
  ef::Index heads = 0;  // of each layer
};
/// Returns these numbers for a model.
AttentionSize attention_size(const Model& model);

/// Throws if a model has no attention, or no such layer or head. layer, head: see attention_between.
void check_layer_and_head(const Model& model, int layer, int head);

/// Returns the recorded attention weights of the decoder on the encoder: [target tokens x keys of the longest source].
/// layer, head: see attention_between.
ef::Matrix<float> attention_of(const ef::Transformer<float>& network, const ef::AttentionRecorder<float>& recorder,
                               int layer, int head);
ef::Matrix<float> attention_of(const ef::RecurrentSeq2Seq<float>& network, const ef::AttentionRecorder<float>& recorder,
                               int layer, int head);

/// Returns the attention weights of the decoder to the encoder, given both sentences.
/// layer: of a Transformer, counted from 1. 0: the layer that was trained to align, or else the last.
/// head: of a Transformer, counted from 1. 0: the mean over all heads. If the layer is 0 too and a head was trained to
/// align, 0 is that head.
/// A recurrent model has one layer and one head. Throws if the model has no attention, or no such layer or head.
Reading attention_between(const Model& model, const TokenPair& pair, int layer, int head);
Reading attention_between(const Model& model, const std::string& source, const std::string& target, int layer,
                          int head);

/// Returns how much the log probability of each target token falls when a source token is replaced by <unk>. Shades are
/// the lost share of the probability, or 0 if it rises.
/// cancelled: called before each source token; the function throws if it returns true.
Reading influence_between(const Model& model, const TokenPair& pair, const std::function<bool()>& cancelled = {});

/// Links each target word to the source word with the largest value. End tokens have no links.
ef::WordAlignment links_of(const Reading& reading);

}  // namespace translate
