// Repeats any update of a run exactly, and shows what it consisted of.
#pragma once

#include <algorithm>
#include <cmath>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "eigenformer/kernels/cross_entropy.hpp"
#include "eigenformer/train/trainer.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// The norm of a gradient, under the name of a parameter or of a layer.
struct GradientNorm {
  std::string name;
  double norm = 0;
};

/// Returns the name of a parameter's layer: the parameter's name up to its first number or, if it has none, without its
/// last part. "encoder.layers.0.norm1.weight" gives "encoder.layers.0", "generator.weight" gives "generator".
inline std::string layer_of(const std::string& parameter) {
  std::size_t begin = 0;
  for (std::size_t end = parameter.find('.'); end != std::string::npos; end = parameter.find('.', begin)) {
    const std::string part = parameter.substr(begin, end - begin);
    if (!part.empty() && part.find_first_not_of("0123456789") == std::string::npos) return parameter.substr(0, end);
    begin = end + 1;
  }
  return begin == 0 ? parameter : parameter.substr(0, begin - 1);
}

/// Returns the Euclidean norm of the gradient of each layer, times `factor`, in the order of the parameters. A layer
/// without a gradient is left out.
template <class Scalar, class Model>
std::vector<GradientNorm> gradient_norms(const Model& model, const Gradients<Scalar>& gradients, double factor = 1) {
  std::vector<GradientNorm> norms;  // squares at first
  detail::for_each_gradient(model, gradients, [&](const std::string& name, const Matrix<Scalar>& gradient) {
    const std::string layer = layer_of(name);
    const double square = (gradient.template cast<double>() * factor).squaredNorm();
    for (GradientNorm& known : norms)
      if (known.name == layer) {
        known.norm += square;
        return;
      }
    norms.push_back({layer, square});
  });
  for (GradientNorm& each : norms) each.norm = std::sqrt(each.norm);
  return norms;
}

/// Returns the loss of each row: cross entropy with label smoothing (see CrossEntropyOptions), computed in double.
/// logits: [tokens x classes]. Throws if there is not one label for each row, if a label is not a class, or
/// if label_smoothing is out of range.
template <class Scalar>
std::vector<double> token_losses(const ConstMatrixRef<Scalar>& logits, std::span<const Token> labels,
                                 double label_smoothing = 0) {
  for (std::size_t row = 0; row < labels.size(); ++row)
    check(labels[row] >= 0 && labels[row] < logits.cols(), "token_losses: label ", labels[row], " of row ", row,
          ", expected 0 to ", logits.cols() - 1);
  const Matrix<double> losses =
      cross_entropy_rows(logits.template cast<double>(), labels, {.label_smoothing = label_smoothing});
  return {losses.data(), losses.data() + losses.size()};
}

/// Makes updates until the optimiser has made `update` of them. The other parameters are those of train().
template <class Model, class Optimizer, class NextBatch, class Loss>
void train_until(Model& model, Optimizer& optimizer, NextBatch&& next_batch, Loss&& loss, Index update,
                 const TrainingOptions& options) {
  UpdateMemory<typename Optimizer::scalar_type> memory;
  while (optimizer.updates() < update) make_update(model, optimizer, memory, next_batch, loss, options);
}

/// What an update consisted of.
template <class Batch>
struct ObservedUpdate {
  TrainingProgress progress;
  std::vector<Batch> batches;                // that this process read: without ranks, TrainingOptions::accumulate
  std::vector<GradientNorm> gradient_norms;  // of the mean loss over the items, by layer, before clipping
};

/// Makes one update and returns what it consisted of. With train_until, it replays any update of a run from an earlier
/// checkpoint. Restore the model, the optimiser and the position of the batches first (see load_checkpoint):
///
///   train_until(model, adam, next_batch, loss, 1233, {.seed = state.seed});
///   const Transformer<float> before = model;
///   const auto update = observe_update(model, adam, next_batch, loss, {.seed = state.seed});
///
/// With TrainingOptions::seed, results are identical to those of the run, bit for bit. Batch i of the update drew its
/// dropout from update_rng(seed, 1234, i). A forward pass of `before` with this generator gives the losses and the
/// attention of the batch.
template <class Model, class Optimizer, class NextBatch, class Loss>
auto observe_update(Model& model, Optimizer& optimizer, NextBatch&& next_batch, Loss&& loss,
                    const TrainingOptions& options) {
  ObservedUpdate<std::remove_cvref_t<decltype(next_batch())>> observed;
  UpdateMemory<typename Optimizer::scalar_type> memory;
  const auto recorded_batch = [&] {
    observed.batches.push_back(next_batch());
    return observed.batches.back();
  };
  TrainingOptions of_update = options;
  of_update.skip_batch = {};  // batches of other ranks are recorded too
  observed.progress = make_update(model, optimizer, memory, recorded_batch, loss, of_update);
  const double mean = 1 / static_cast<double>(std::max<Index>(observed.progress.items, 1));
  observed.gradient_norms = gradient_norms(model, memory.tape.gradients(), mean);
  return observed;
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
