// The training loop.
#pragma once

#include <chrono>
#include <cmath>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "eigenformer/autograd/context.hpp"
#include "eigenformer/core/detail/fast_math.hpp"
#include "eigenformer/train/adam.hpp"
#include "eigenformer/train/clip.hpp"
#include "eigenformer/train/gradient_sum.hpp"
#include "eigenformer/train/ranks.hpp"
#include "eigenformer/train/schedules.hpp"
#include "eigenformer/train/training_state.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

struct TrainingOptions {
  Index max_updates = 0;  // includes earlier updates of the optimizer; 0: until the callback returns false
  Index accumulate = 1;   // batches per update, of all ranks together; their gradients are summed
  double max_norm = 1;    // clips the gradient to this global norm; 0: no clipping
  /// Returns the learning rate of an update, given its number. The first is 1.
  std::function<double(Index)> schedule = InverseSquareRoot{};
  Rng* rng = nullptr;  // generator for dropout; null: no dropout, unless there is a seed
  std::optional<std::uint64_t>
      seed{};                  // instead of rng: each batch draws from its update_rng, so a run continues exactly
  Threads* threads = nullptr;  // worker threads besides the calling thread; null: none
  bool checkpoint_activations = false;  // saves memory, takes a third longer: see checkpoint()
  double max_loss = 0;  // throws if the mean loss of an update is greater: training diverges; 0: no limit
  std::function<std::string()> batch_name{};  // names the last batch in messages
  Precision precision = Precision::float32;   // of products: see Context
  Ranks* ranks = nullptr;                     // processes that share the batches of each update; null: this one alone
  std::function<void()> skip_batch{};         // skips a batch of another rank; empty: next_batch is called instead
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
  double gradient_norm = 0;          // before clipping
  Index items = 0;                   // of this update
  Index total_items = 0;             // so far
  double seconds = 0;                // since the loop began
  double exchange_seconds = 0;       // spent by this rank on the exchange of gradients since the loop began
  std::uint64_t exchange_bytes = 0;  // of gradients that this rank sent since then
};

/// Memory that updates reuse: the tape, and sums of gradients.
template <class Scalar>
struct UpdateMemory {
  Tape<Scalar> tape;
  GradientSum<Scalar> sum;
};

namespace detail {

/// The loss of a batch without its graph.
struct LossValue {
  double sum = 0;
  Index items = 0;
};

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

/// Throws if no parameter of the model has a gradient.
template <class Scalar, class Model>
void check_has_gradients(const Model& model, const Gradients<Scalar>& gradients) {
  bool found = false;
  for_each_parameter(
      model, [&](const std::string&, const Parameter<Scalar>& x) { found = found || gradients.find(x) != nullptr; });
  check(found,
        "train: no parameter of the model has a gradient, expected a loss that uses the model itself, not a copy");
}

}  // namespace detail

/// Makes one update and returns its progress, without the totals of the loop: total_items, seconds, exchange_seconds
/// and exchange_bytes stay 0. Throws as train() does. Afterwards memory.tape holds the update's gradients, summed over
/// its items. With ranks, it holds gradients of the model's parameters only. The arguments not named here are those of
/// train().
template <class Model, class Optimizer, class NextBatch, class Loss>
TrainingProgress make_update(Model& model, Optimizer& optimizer, UpdateMemory<typename Optimizer::scalar_type>& memory,
                             NextBatch&& next_batch, Loss&& loss, const TrainingOptions& options) {
  using Scalar = typename Optimizer::scalar_type;
  check(options.accumulate >= 1, "train: accumulate is ", options.accumulate, ", expected at least 1");
  check(options.max_norm >= 0, "train: max_norm is ", options.max_norm, ", expected 0 or more");
  check(options.max_loss >= 0, "train: max_loss is ", options.max_loss, ", expected 0 or more");
  check(options.rng == nullptr || !options.seed, "train: there are both an rng and a seed, expected one of them");
  check(options.ranks == nullptr || options.rng == nullptr,
        "train: several ranks need a seed instead of an rng, so that dropout does not depend on their number");
  Tape<Scalar>& tape = memory.tape;
  TrainingProgress progress;
  progress.update = optimizer.updates() + 1;
  const std::string of_update = " of update " + std::to_string(progress.update);
  const LeafDivision division{options.accumulate, options.ranks == nullptr ? 1 : options.ranks->size()};
  const Index rank = options.ranks == nullptr ? 0 : options.ranks->rank();
  std::vector<detail::LossValue> losses(static_cast<std::size_t>(options.accumulate));
  memory.sum.begin(model, tape, division, options.ranks);
  for (Index i = 0; i < options.accumulate; ++i) {
    if (division.rank_of(i) != rank) {
      if (options.skip_batch)
        options.skip_batch();
      else
        static_cast<void>(next_batch());
      continue;
    }
    const auto batch = next_batch();
    Rng own_rng = update_rng(options.seed.value_or(0), progress.update, i);
    const Context<Scalar> context{.tape = &tape,
                                  .rng = options.seed ? &own_rng : options.rng,
                                  .threads = options.threads,
                                  .precision = options.precision,
                                  .checkpoint_activations = options.checkpoint_activations};
    const BatchLoss<Scalar> batch_loss = loss(context, batch);
    const auto value = static_cast<double>(batch_loss.sum.scalar());
    memory.sum.backward(batch_loss.sum, options.threads);
    if (!detail::is_finite(value) && division.ranks == 1)
      detail::fail_update(model, tape.gradients(), "the loss" + of_update + " is not finite", options);
    losses[static_cast<std::size_t>(i)] = {value, batch_loss.items};
  }
  memory.sum.finish();
  if (options.ranks != nullptr)
    all_gather(*options.ranks, std::span(losses), [&](Index of_rank) { return division.begin(of_rank); });
  double sum = 0;
  for (const detail::LossValue& each : losses) {
    // All ranks throw, after the exchange, so that none waits for another.
    if (!detail::is_finite(each.sum))
      detail::fail_update(model, tape.gradients(), "the loss" + of_update + " is not finite", options);
    sum += each.sum;
    progress.items += each.items;
  }
  const double mean = 1 / static_cast<double>(std::max<Index>(progress.items, 1));
  progress.loss = mean * sum;
  progress.learning_rate = options.schedule(progress.update);
  if (options.max_loss > 0 && progress.loss > options.max_loss)
    detail::fail_update(model, tape.gradients(),
                        "training diverges: the mean loss" + of_update + " is " + std::to_string(progress.loss) +
                            ", the limit is " + std::to_string(options.max_loss),
                        options);
  // A finite sum of squares proves that all gradients are finite, without another pass.
  const double squares = detail::sum_of_squares(model, tape.gradients(), options.threads);
  // With ranks, gradients of other parameters were dropped.
  if (squares == 0 && (division.ranks > 1 || !tape.gradients().empty()))
    detail::check_has_gradients(model, tape.gradients());
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
/// a gradient or the learning rate of an update is not finite, before the update changes any weight. Also throws if the
/// loss used a copy of the model, so that no parameter has a gradient.
///
/// With a seed, an update depends only on the parameters, the optimiser, its number and its batches. A run that was
/// saved between two updates then continues exactly: see TrainingState and BatchOrder.
///
/// With ranks, all of them call train() with equal models, optimisers and options, and with the same sequence of
/// batches. `accumulate` counts the batches of all ranks; each rank computes the gradients of its share. All ranks then
/// hold the parameters that one process would have, bit for bit. Only rank 0 calls `report`, and decides for all
/// whether training goes on. With ranks, it throws if the options have an rng. After an error on one rank, the others
/// wait for its messages: see MpiEnvironment::abort.
template <class Model, class Optimizer, class NextBatch, class Loss, class Report>
void train(Model& model, Optimizer& optimizer, NextBatch&& next_batch, Loss&& loss, Report&& report,
           const TrainingOptions& options = {}) {
  check(options.max_updates >= 0, "train: max_updates is ", options.max_updates, ", expected 0 or more");
  UpdateMemory<typename Optimizer::scalar_type> memory;
  Index total_items = 0;
  const auto begin = std::chrono::steady_clock::now();
  while (options.max_updates == 0 || optimizer.updates() < options.max_updates) {
    TrainingProgress progress = make_update(model, optimizer, memory, next_batch, loss, options);
    total_items += progress.items;
    progress.total_items = total_items;
    progress.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    progress.exchange_seconds = memory.sum.exchange().seconds();
    progress.exchange_bytes = memory.sum.exchange().bytes_sent();
    bool goes_on = true;
    if (options.ranks == nullptr || options.ranks->rank() == 0) goes_on = report(std::as_const(progress));
    if (options.ranks != nullptr) broadcast_value(*options.ranks, goes_on);
    if (!goes_on) return;
  }
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
