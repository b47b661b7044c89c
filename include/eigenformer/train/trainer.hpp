// The training loop.
#pragma once

#include <chrono>
#include <cmath>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>

#include "eigenformer/autograd/context.hpp"
#include "eigenformer/core/detail/fast_math.hpp"
#include "eigenformer/train/adam.hpp"
#include "eigenformer/train/clip.hpp"
#include "eigenformer/train/schedules.hpp"
#include "eigenformer/train/training_state.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

struct TrainingOptions {
  Index max_updates = 0;  // includes earlier updates of the optimizer; 0: until the callback returns false
  Index accumulate = 1;   // batches per update; their gradients are summed
  double max_norm = 1;    // clips the gradient to this global norm; 0: no clipping
  /// Returns the learning rate of an update, given its number. The first is 1.
  std::function<double(Index)> schedule = InverseSquareRoot{};
  Rng* rng = nullptr;  // generator for dropout; null: no dropout, unless there is a seed
  std::optional<std::uint64_t>
      seed{};                  // instead of rng: each batch draws from its update_rng, so a run continues exactly
  Threads* threads = nullptr;  // worker threads besides the calling thread; null: none
  double max_loss = 0;         // throws if the mean loss of an update is greater: training diverges; 0: no limit
  std::function<std::string()> batch_name{};  // names the last batch in messages
  Precision precision = Precision::float32;   // of products: see Context
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

namespace detail {

/// Throws an error about an unusable loss or gradient. The message names the first parameter that is not finite, or
/// else the first parameter whose gradient is not finite.
template <class Scalar, class Model>
[[noreturn]] void fail_update(const Model& model, const Gradients<Scalar>& gradients, const std::string& what,
                              const TrainingOptions& options) {
  std::string parameter, gradient;
  for_each_parameter(model, [&](const std::string& name, const Parameter<Scalar>& x) {
    if (parameter.empty() && !is_finite(x.value.array())) parameter = name;
    const Matrix<Scalar>* of_x = gradients.find(x);
    if (gradient.empty() && of_x != nullptr && !is_finite(of_x->array())) gradient = name;
  });
  std::string message = "train: " + what;
  if (!parameter.empty())
    message += "; the parameter " + parameter + " is not finite";
  else if (!gradient.empty())
    message += "; the gradient of " + gradient + " is not finite";
  if (options.batch_name) message += "; batch: " + options.batch_name();
  fail(message);
}

}  // namespace detail

/// Makes one update and returns its progress; total_items and seconds stay 0. Afterwards the tape holds the update's
/// gradients, summed over its items. The parameters are those of train().
template <class Model, class Optimizer, class NextBatch, class Loss>
TrainingProgress make_update(Model& model, Optimizer& optimizer, Tape<typename Optimizer::scalar_type>& tape,
                             NextBatch&& next_batch, Loss&& loss, const TrainingOptions& options) {
  using Scalar = typename Optimizer::scalar_type;
  check(options.accumulate >= 1, "train: accumulate is ", options.accumulate, ", expected at least 1");
  check(options.rng == nullptr || !options.seed, "train: there are both an rng and a seed, expected one of them");
  TrainingProgress progress;
  progress.update = optimizer.updates() + 1;
  const std::string of_update = " of update " + std::to_string(progress.update);
  double sum = 0;
  tape.gradients().clear();
  for (Index i = 0; i < options.accumulate; ++i) {
    const auto batch = next_batch();
    Rng own_rng = update_rng(options.seed.value_or(0), progress.update, i);
    const Context<Scalar> context{.tape = &tape,
                                  .rng = options.seed ? &own_rng : options.rng,
                                  .threads = options.threads,
                                  .precision = options.precision};
    const BatchLoss<Scalar> batch_loss = loss(context, batch);
    const auto value = static_cast<double>(batch_loss.sum.scalar());
    tape.backward(batch_loss.sum, 1, options.threads);
    if (!detail::is_finite(value))
      detail::fail_update(model, tape.gradients(), "the loss" + of_update + " is not finite", options);
    sum += value;
    progress.items += batch_loss.items;
  }
  const double mean = 1 / static_cast<double>(std::max<Index>(progress.items, 1));
  progress.loss = mean * sum;
  progress.learning_rate = options.schedule(progress.update);
  if (options.max_loss > 0 && progress.loss > options.max_loss)
    detail::fail_update(model, tape.gradients(),
                        "training diverges: the mean loss" + of_update + " is " + std::to_string(progress.loss) +
                            ", the limit is " + std::to_string(options.max_loss),
                        options);
  // A finite sum of squares saves a pass over the gradients.
  const double squares = detail::sum_of_squares(model, tape.gradients(), options.threads);
  if (!detail::is_finite(squares)) check_finite(model, tape.gradients(), progress.update, options.batch_name);
  progress.gradient_norm =
      mean * (detail::is_finite(squares) ? std::sqrt(squares) : global_norm(model, tape.gradients(), options.threads));
  optimizer.update(model, tape.gradients(), progress.learning_rate,
                   mean * clip_factor(progress.gradient_norm, options.max_norm), options.threads);
  return progress;
}

/// Trains until `report` returns false or `max_updates` updates are done.
///
///   optimizer: Adam, or another optimiser with its members `scalar_type`, updates() and update(...)
///   next_batch: () -> Batch
///   loss: (const Context<Scalar>&, const Batch&) -> BatchLoss<Scalar>
///   report: (const TrainingProgress&) -> bool. Validate, save and print here: the loop does none of these.
///
/// The loss receives a context with the loop's own tape and with the options' generator and threads. Throws if a loss,
/// a gradient or the learning rate of an update is not finite, before the update changes any weight.
///
/// With a seed, an update depends only on the parameters, the optimiser, its number and its batches. A run that was
/// saved between two updates then continues exactly: see TrainingState and BatchOrder.
template <class Model, class Optimizer, class NextBatch, class Loss, class Report>
void train(Model& model, Optimizer& optimizer, NextBatch&& next_batch, Loss&& loss, Report&& report,
           const TrainingOptions& options = {}) {
  Tape<typename Optimizer::scalar_type> tape;
  Index total_items = 0;
  const auto begin = std::chrono::steady_clock::now();
  while (options.max_updates == 0 || optimizer.updates() < options.max_updates) {
    TrainingProgress progress = make_update(model, optimizer, tape, next_batch, loss, options);
    total_items += progress.items;
    progress.total_items = total_items;
    progress.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    if (!report(std::as_const(progress))) return;
  }
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
