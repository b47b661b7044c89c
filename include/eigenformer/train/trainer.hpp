// The training loop.
#pragma once

#include <chrono>
#include <cmath>
#include <functional>
#include <utility>

#include "eigenformer/autograd/context.hpp"
#include "eigenformer/core/detail/fast_math.hpp"
#include "eigenformer/train/adam.hpp"
#include "eigenformer/train/clip.hpp"
#include "eigenformer/train/schedules.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// When an update is made. Converts to the update's number, so a schedule may be a function of the number alone.
struct TrainingTime {
  Index update = 1;    // the first is 1
  double seconds = 0;  // since the loop began

  operator Index() const { return update; }
};

struct TrainingOptions {
  Index max_updates = 0;  // includes earlier updates of the optimizer; 0: until the callback returns false
  Index accumulate = 1;   // batches per update; their gradients are summed
  double max_norm = 1;    // clips the gradient to this global norm; 0: no clipping
  /// Returns the learning rate.
  std::function<double(const TrainingTime&)> schedule = InverseSquareRoot{};
  Rng* rng = nullptr;          // generator for dropout; null: no dropout
  Threads* threads = nullptr;  // worker threads besides the calling thread; null: none
};

/// Loss of one batch: the sum over its items (usually target tokens) and their number. The trainer divides the
/// sum of an update's losses by its number of items, so that all items weigh the same, whatever the batch sizes.
template <class Scalar>
struct BatchLoss {
  Variable<Scalar> sum;  // [1 x 1]
  Index items = 0;
};

/// Progress that the callback receives after every update.
struct TrainingProgress {
  Index update = 0;
  double loss = 0;  // the mean over this update's items
  double learning_rate = 0;
  double gradient_norm = 0;  // before clipping
  Index items = 0;           // of this update
  Index total_items = 0;     // so far
  double seconds = 0;        // since the loop began
};

/// Trains until `report` returns false or `max_updates` updates are done.
///
///   next_batch: () -> Batch
///   loss: (const Context<Scalar>&, const Batch&) -> BatchLoss<Scalar>
///   report: (const TrainingProgress&) -> bool. Validate, save and print here: the loop does none of these.
///
/// The loss receives a context with the loop's own tape and with the options' generator and threads. Throws if a loss,
/// a gradient or the learning rate of an update is not finite, before the update changes any weight.
template <class Scalar, class Model, class NextBatch, class Loss, class Report>
void train(Model& model, Adam<Scalar>& optimizer, NextBatch&& next_batch, Loss&& loss, Report&& report,
           const TrainingOptions& options = {}) {
  check(options.accumulate >= 1, "train: accumulate is ", options.accumulate, ", expected at least 1");
  Tape<Scalar> tape;
  const Context<Scalar> context{.tape = &tape, .rng = options.rng, .threads = options.threads};
  TrainingProgress progress;
  progress.update = optimizer.updates();
  const auto begin = std::chrono::steady_clock::now();
  const auto seconds = [&] { return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count(); };
  while (options.max_updates == 0 || progress.update < options.max_updates) {
    double sum = 0;
    progress.items = 0;
    tape.gradients().clear();
    for (Index i = 0; i < options.accumulate; ++i) {
      const auto batch = next_batch();
      const BatchLoss<Scalar> batch_loss = loss(context, batch);
      const auto value = static_cast<double>(batch_loss.sum.scalar());
      check(detail::is_finite(value), "train: the loss of update ", progress.update + 1, " is not finite");
      sum += value;
      progress.items += batch_loss.items;
      tape.backward(batch_loss.sum);
    }
    const double mean = 1 / static_cast<double>(std::max<Index>(progress.items, 1));
    ++progress.update;
    progress.learning_rate = options.schedule({progress.update, seconds()});
    check_finite(model, tape.gradients(), progress.update);
    progress.gradient_norm = mean * global_norm(model, tape.gradients());
    optimizer.update(model, tape.gradients(), progress.learning_rate,
                     mean * clip_factor(progress.gradient_norm, options.max_norm), options.threads);
    progress.loss = mean * sum;
    progress.total_items += progress.items;
    progress.seconds = seconds();
    if (!report(std::as_const(progress))) return;
  }
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
