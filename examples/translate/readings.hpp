// What a model looked at when it produced each target word, in two of attention's three readings: as an alignment, and
// as influence. (The third, a soft look-up, is examples/06_soft_lookup.cpp.)
#pragma once

#include <string>
#include <vector>

#include "eigenformer/text/alignment.hpp"
#include "translate/program.hpp"

namespace translate {

/// A number for every target token and source token.
struct Reading {
  std::vector<std::string> source;  // tokens, the end token last
  std::vector<std::string> target;
  ef::Matrix<float> values;  // [target x source]
  ef::Matrix<float> shades;  // the same as a share, 0 to 1
};

/// The weights of attention when the model was given both sentences: of a Transformer's decoder to its encoder, with
/// layer and head counted from 1, layer 0 the last one and head 0 the mean over all; of a recurrent model its one.
/// Throws if the model has no attention.
Reading attention_between(const Model& model, const std::string& source, const std::string& target, int layer,
                          int head);

/// By how much the logarithm of each target token's probability falls when a source token is hidden, which is when it
/// is <unk>. Shades are the share of the probability that is lost, 0 if it rises.
Reading influence_between(const Model& model, const std::string& source, const std::string& target);

/// Each target word's source word of the largest value; the end tokens have no links.
ef::WordAlignment links_of(const Reading& reading);

}  // namespace translate
