// The interface to threads, which a user can implement over a pool of their own; a ready one is in thread_pool.hpp.
// Nothing here starts a thread: without an executor the calling thread does the work.
#pragma once

#include <algorithm>
#include <type_traits>

#include "eigenformer/core/types.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// A reference to something callable as void(Index). It does not own it, and costs two pointers.
class TaskRef {
 public:
  template <class Task, std::enable_if_t<!std::is_same_v<std::remove_cvref_t<Task>, TaskRef>, int> = 0>
  TaskRef(Task&& task)  // NOLINT: implicit, so that a lambda can be passed
      : task_(const_cast<void*>(static_cast<const void*>(&task))),
        call_([](void* t, Index i) { (*static_cast<std::remove_reference_t<Task>*>(t))(i); }) {}
  void operator()(Index i) const { call_(task_, i); }

 private:
  void* task_;
  void (*call_)(void*, Index);
};

/// Somebody who runs tasks. Tasks never wait for one another, so any pool can serve.
class Threads {
 public:
  virtual ~Threads() = default;
  /// Calls task(0) .. task(count - 1), each once, in any order and on any thread, and returns when all have returned.
  /// If one throws, some one of the exceptions is thrown here, after the others have ended.
  virtual void run(Index count, TaskRef task) = 0;
};

/// Calls body(begin, end) for ranges that cover 0 .. count - 1, each of `grain` items but the last. The cut depends on
/// count and grain alone, so that results are the same for any number of threads.
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
