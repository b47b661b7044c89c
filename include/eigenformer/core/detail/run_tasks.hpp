// Runs tasks that may throw, such as those that read a user's file.
#pragma once

#include <cstddef>
#include <exception>
#include <vector>

#include "eigenformer/core/config.hpp"
#include "eigenformer/core/threads.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

namespace detail {

/// Calls task(0) .. task(count - 1), in parallel if `threads` is not null. All tasks run, even if some throw. Rethrows
/// the exception of the smallest index, so that the error does not depend on the number of threads.
template <class Task>
void run_tasks(Threads* threads, Index count, Task&& task) {
#if defined(__cpp_exceptions)
  std::vector<std::exception_ptr> errors(static_cast<std::size_t>(count));
  parallel_for(threads, count, 1, [&](Index i, Index) {
    try {
      task(i);
    } catch (...) {
      errors[static_cast<std::size_t>(i)] = std::current_exception();
    }
  });
  for (const std::exception_ptr& error : errors)
    if (error != nullptr) std::rethrow_exception(error);
#else
  parallel_for(threads, count, 1, [&](Index i, Index) { task(i); });
#endif
}

}  // namespace detail

}  // namespace eigenformer::inline EIGENFORMER_ABI
