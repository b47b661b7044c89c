// The state of a run between two updates. With the parameters and the optimiser, it determines all later updates, so
// that a stopped run can continue exactly.
#pragma once

#include <concepts>
#include <cstdint>
#include <type_traits>

#include "eigenformer/core/added_later.hpp"
#include "eigenformer/core/rng.hpp"
#include "eigenformer/core/types.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// The place of a batch. All numbers count from 0.
struct BatchPosition {
  Index epoch = 0;
  Index batch = 0;   // within the epoch; in StreamedBatches, within the buffer
  Index buffer = 0;  // within the epoch; 0 in BatchOrder
  friend bool operator==(const BatchPosition&, const BatchPosition&) = default;
};

/// The state that a checkpoint holds besides the parameters and the optimiser. It is small, because random draws and
/// the order of the batches follow from the seed, and learning rates from the number of the update.
struct TrainingState {
  std::uint64_t seed = 1;  // of dropout (update_rng) and of the order of batches (epoch_rng)
  BatchPosition next{};    // the batch that the next update begins with
  double seconds = 0;      // spent so far, over all runs
};

/// Visits every member by name, as save_checkpoint requires.
template <class State>
requires std::same_as<std::remove_const_t<State>, TrainingState>
void visit_options(State& state, auto&& visitor) {
  visitor("seed", state.seed);
  visitor("epoch", state.next.epoch);
  visitor("batch", state.next.batch);
  visitor("buffer", state.next.buffer, AddedLater());
  visitor("seconds", state.seconds);
}

/// Returns the generator for the dropout of one batch. It depends only on the seed and both numbers, so any update can
/// be repeated without those before it. update: from 1. batch: its place in the update, from 0.
inline Rng update_rng(std::uint64_t seed, Index update, Index batch = 0) {
  Rng of_update(RandomKey{seed, 2 * static_cast<std::uint64_t>(update) + 1});  // Rng(seed) is stream 0
  for (Index i = 0; i < batch; ++i) of_update.split();
  return Rng(of_update.split());
}

/// Returns the generator for the order of an epoch's batches. epoch: from 0.
inline Rng epoch_rng(std::uint64_t seed, Index epoch) {
  return Rng(RandomKey{seed, 2 * static_cast<std::uint64_t>(epoch) + 2});
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
