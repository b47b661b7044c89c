// Counts heap allocations by any caller: operator new, Eigen's malloc, or the standard library.
#pragma once

#include <cstddef>

namespace eigenformer::testing {

/// Returns whether this build can count. It needs glibc without sanitizers, which replace the heap.
bool can_count_allocations();

/// Counts allocations of at least `smallest` bytes on all threads during its lifetime. Only one may exist at a time.
class AllocationCount {
 public:
  explicit AllocationCount(std::size_t smallest);
  AllocationCount(const AllocationCount&) = delete;
  AllocationCount& operator=(const AllocationCount&) = delete;
  ~AllocationCount();
  std::size_t count() const;
};

/// Makes one allocation fail during its lifetime: the one after `before` others, on any thread. Only one may exist at a
/// time.
class FailingAllocation {
 public:
  explicit FailingAllocation(std::size_t before);
  FailingAllocation(const FailingAllocation&) = delete;
  FailingAllocation& operator=(const FailingAllocation&) = delete;
  ~FailingAllocation();
  /// Returns whether that allocation has been made.
  bool reached() const;
};

}  // namespace eigenformer::testing
