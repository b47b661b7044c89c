#include "support/allocations.hpp"

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <limits>

#include "support/sanitizers.hpp"

namespace {

std::atomic<std::size_t> smallest_counted{std::numeric_limits<std::size_t>::max()};
std::atomic<std::size_t> counted{0};
std::atomic<std::int64_t> until_failure{-1};  // below 0: no allocation fails

}  // namespace

#if defined(__GLIBC__) && !UNDER_SANITIZER
#define COUNTS_ALLOCATIONS 1
// These replace glibc's allocation functions and forward to them.
extern "C" {
void* __libc_malloc(std::size_t);                 // NOLINT
void* __libc_calloc(std::size_t, std::size_t);    // NOLINT
void* __libc_realloc(void*, std::size_t);         // NOLINT
void* __libc_memalign(std::size_t, std::size_t);  // NOLINT

// Counts an allocation and returns whether it must fail.
static bool fails(std::size_t bytes) {
  if (bytes >= smallest_counted.load(std::memory_order_relaxed)) ++counted;
  if (until_failure.load(std::memory_order_relaxed) < 0 || until_failure-- != 0) return false;
  errno = ENOMEM;
  return true;
}

void* malloc(std::size_t bytes) {
  return fails(bytes) ? nullptr : __libc_malloc(bytes);
}
void* calloc(std::size_t items, std::size_t bytes) {
  return fails(items * bytes) ? nullptr : __libc_calloc(items, bytes);
}
void* realloc(void* block, std::size_t bytes) {
  return fails(bytes) ? nullptr : __libc_realloc(block, bytes);
}
void* aligned_alloc(std::size_t alignment, std::size_t bytes) {
  return fails(bytes) ? nullptr : __libc_memalign(alignment, bytes);
}
int posix_memalign(void** block, std::size_t alignment, std::size_t bytes) {
  *block = fails(bytes) ? nullptr : __libc_memalign(alignment, bytes);
  return *block == nullptr ? 12 : 0;  // ENOMEM
}
}
#else
#define COUNTS_ALLOCATIONS 0
#endif

namespace eigenformer::testing {

bool can_count_allocations() {
  return COUNTS_ALLOCATIONS;
}

AllocationCount::AllocationCount(std::size_t smallest) {
  counted = 0;
  smallest_counted = smallest;
}
AllocationCount::~AllocationCount() {
  smallest_counted = std::numeric_limits<std::size_t>::max();
}
std::size_t AllocationCount::count() const {
  return counted;
}

FailingAllocation::FailingAllocation(std::size_t before) {
  until_failure = static_cast<std::int64_t>(before);
}
FailingAllocation::~FailingAllocation() {
  until_failure = -1;
}
bool FailingAllocation::reached() const {
  return until_failure < 0;
}

}  // namespace eigenformer::testing
