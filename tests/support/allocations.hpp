// Counts what a piece of code asks of the heap, whoever asks: operator new, Eigen's malloc, or the standard library.
#pragma once

#include <cstddef>

namespace eigenformer::testing {

/// Whether this build can count (glibc without sanitizers, which bring a heap of their own).
bool can_count_allocations();

/// Counts allocations of at least `smallest` bytes, on all threads, while it lives. One at a time.
class AllocationCount {
 public:
  explicit AllocationCount(std::size_t smallest);
  AllocationCount(const AllocationCount&) = delete;
  AllocationCount& operator=(const AllocationCount&) = delete;
  ~AllocationCount();
  std::size_t count() const;
};

/// Lets one allocation fail while it lives: the one that comes after `before` others, on whatever thread. One at a
/// time.
class FailingAllocation {
 public:
  explicit FailingAllocation(std::size_t before);
  FailingAllocation(const FailingAllocation&) = delete;
  FailingAllocation& operator=(const FailingAllocation&) = delete;
  ~FailingAllocation();
  /// Whether it has failed.
  bool reached() const;
};

}  // namespace eigenformer::testing
