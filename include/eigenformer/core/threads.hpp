// The interface to threads. Implement it over your own pool, or use ThreadPool from thread_pool.hpp.
// Nothing here starts a thread: without a Threads object the calling thread does the work.
#pragma once

#include <algorithm>

#include "eigenformer/core/function_ref.hpp"
#include "eigenformer/core/types.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// A reference to the task of a call of Threads::run.
using TaskRef = FunctionRef<void(Index)>;

/// Runs tasks, possibly in parallel. Tasks never wait for each other, so any pool can implement it.
class Threads {
 public:
  virtual ~Threads() = default;
  /// Calls task(0) .. task(count - 1), each once, in any order and on any thread. Returns when all have returned.
  /// If tasks throw, rethrows one of their exceptions when no task is running; tasks that had not begun may be left
  /// out.
  virtual void run(Index count, TaskRef task) = 0;
};

/// Calls body(begin, end) for consecutive ranges that cover 0 .. count - 1. Each has `grain` items, except that the
/// last may be shorter. The ranges depend on count and grain only, so results do not depend on the number of threads.
template <class Body>
void parallel_for(Threads* threads, Index count, Index grain, Body&& body) {
  if (count <= 0) return;
  const Index tasks = (count + grain - 1) / grain;
  const auto task = [&](Index i) { body(i * grain, std::min<Index>(count, (i + 1) * grain)); };
  if (threads != nullptr && tasks > 1) {
    threads->run(tasks, task);
  } else {
    for (Index i = 0; i < tasks; ++i) task(i);
  }
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
