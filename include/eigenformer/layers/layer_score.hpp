// The score of a layer's attention, as a model's options store it: a window, a soft cap, the name of a user's score,
// and whether heads have sinks.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "eigenformer/kernels/scores/sliding_window.hpp"
#include "eigenformer/kernels/scores/soft_cap.hpp"
#include "eigenformer/layers/multi_head_attention.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// Scores by name, for models whose options name them. If a score has parameters, each layer that names it has its own
/// copies, which begin with the values given here.
///
///   const auto decay = [](auto s, const ef::ScorePosition& at, const auto& slope) { return .. };
///   NamedScores<float> scores{{"even", ef::mask([](const ef::ScorePosition& at) { return at.key % 2 == 0; })},
///                             {"decay", TrainableScore<float>(decay, {{"slope", Matrix<float>::Zero(1, 8)}})}};
template <class Scalar>
using NamedScores = std::map<std::string, TrainableScore<Scalar>>;

/// Options of the score of one attention, and of its sinks.
struct LayerScore {
  Index window = 0;          // queries see keys less than this many positions away; 0: all. See SlidingWindow
  double soft_cap = 0;       // bounds the scores; 0: no bound. See SoftCap
  std::string user_score{};  // name of a score in NamedScores; empty: none
  bool sinks = false;        // a learned sink for each query head: see MultiHeadAttentionOptions

  /// Returns what these options say of the score.
  ScoreDescription description() const { return {window, soft_cap, user_score}; }

  /// Returns the score, with this description. Throws if the window is negative, the cap is negative, or `named` has no
  /// such score.
  template <class Scalar>
  TrainableScore<Scalar> score(const NamedScores<Scalar>& named = {}) const {
    check(window >= 0 && soft_cap >= 0, "LayerScore: window is ", window, ", soft_cap is ", soft_cap,
          ", expected 0 or more");
    TrainableScore<Scalar> result;
    if (soft_cap > 0) result = result.combined_with(SoftCap(soft_cap));
    if (window > 0) result = result.combined_with(SlidingWindow(window));
    if (user_score.empty()) return result.described_by(description());
    const auto found = named.find(user_score);
    check(found != named.end(), "LayerScore: the score \"", user_score,
          "\" is not among the named scores; give it to the model's constructor or to load()");
    return result.combined_with(found->second).described_by(description());
  }

  /// Sets the score of a layer, and adds sinks if `sinks` is true. Throws as score() does.
  template <class Scalar>
  void apply_to(MultiHeadAttention<Scalar>& layer, const NamedScores<Scalar>& named = {}) const {
    layer.score = score(named);
    if (sinks) layer.sinks = Parameter<Scalar>(1, layer.heads);
  }

  friend bool operator==(const LayerScore&, const LayerScore&) = default;
};

/// The scores of a stack of layers: layer i has scores[i % scores.size()]. So {{.window = 4096}, {}} alternates windows
/// with full attention, as in Gemma 2 (arXiv 2408.00118). Empty: no scores.
using LayerScores = std::vector<LayerScore>;

/// Returns the score of layer number `layer`: an empty one if there are none.
inline LayerScore score_of_layer(const LayerScores& scores, Index layer) {
  return scores.empty() ? LayerScore{} : scores[static_cast<std::size_t>(layer) % scores.size()];
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
