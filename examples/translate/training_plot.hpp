// The course of a training run, and its picture: loss, validation perplexity and BLEU, and learning rate over updates.
#pragma once

#include <concepts>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "eigenformer/core/types.hpp"

namespace translate {

/// The losses and learning rates of a run. Each point stands for the same number of updates. When there are
/// `max_points` points, pairs of neighbours are merged, so a checkpoint can hold the curve of a run of any length.
struct LossCurve {
  static constexpr std::size_t max_points = 256;

  eigenformer::Index begin = 0;              // updates before the first point
  eigenformer::Index updates_per_point = 1;  // a power of 2
  std::vector<double> losses{};              // the mean over each point's updates
  std::vector<double> rates{};               // at the last update of each point
  double unfinished_loss = 0;                // the sum over the updates after the last point
  eigenformer::Index unfinished = 0;         // the number of these updates

  /// Adds an update. update: its number, from 1.
  void add(eigenformer::Index update, double loss, double rate);
  /// Returns the number of the last update of point i.
  eigenformer::Index update_of(std::size_t i) const {
    return begin + (static_cast<eigenformer::Index>(i) + 1) * updates_per_point;
  }
};

/// The result of a validation.
struct ValidationPoint {
  eigenformer::Index update = 0;
  double perplexity = 0;
  double bleu = 0;
};

/// The course of a run.
struct TrainingCurves {
  LossCurve training{};
  std::vector<ValidationPoint> validations{};  // by update
};

/// Returns the curves as a self-contained SVG document: one panel each for loss, perplexity, BLEU and learning rate.
/// Its colours follow the viewer's choice of a light or dark background. Perplexities that differ by more than a factor
/// of ten have a logarithmic axis. title: UTF-8 text.
std::string svg_training_plot(const TrainingCurves& curves, std::string_view title);

// The curves in JSON; see io/options.hpp.

template <class Options>
requires std::same_as<std::remove_const_t<Options>, LossCurve>
void visit_options(Options& curve, auto&& visitor) {
  visitor("begin", curve.begin);
  visitor("updates_per_point", curve.updates_per_point);
  visitor("losses", curve.losses);
  visitor("rates", curve.rates);
  visitor("unfinished_loss", curve.unfinished_loss);
  visitor("unfinished", curve.unfinished);
}

template <class Options>
requires std::same_as<std::remove_const_t<Options>, ValidationPoint>
void visit_options(Options& point, auto&& visitor) {
  visitor("update", point.update);
  visitor("perplexity", point.perplexity);
  visitor("bleu", point.bleu);
}

template <class Options>
requires std::same_as<std::remove_const_t<Options>, TrainingCurves>
void visit_options(Options& curves, auto&& visitor) {
  visitor("training", curves.training);
  visitor("validations", curves.validations);
}

}  // namespace translate
