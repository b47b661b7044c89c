// Early stopping: ends training when validations no longer improve.
#pragma once

#include <concepts>
#include <type_traits>

#include "eigenformer/core/check.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// Counts the validations since the best one. Save it as part of a checkpoint's state.
///
///   EarlyStopping stopping{.patience = 5};
///   if (stopping.add(quality.is_better_than(best))) return false;
struct EarlyStopping {
  Index patience = 0;  // training stops after this number of validations without improvement; 0: never
  Index without_improvement = 0;

  /// Records a validation. Returns whether training should stop. is_better: better than all validations before.
  bool add(bool is_better) {
    without_improvement = is_better ? 0 : without_improvement + 1;
    return should_stop();
  }
  /// Returns whether training should stop, or should have stopped before it was resumed.
  bool should_stop() const { return patience > 0 && without_improvement >= patience; }
};

/// Visits the members that change in training, as save_checkpoint requires.
template <class State>
requires std::same_as<std::remove_const_t<State>, EarlyStopping>
void visit_options(State& state, auto&& visitor) {
  visitor("without_improvement", state.without_improvement);
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
