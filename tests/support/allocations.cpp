#include "support/allocations.hpp"

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <limits>

namespace {

std::atomic<std::size_t> smallest_counted{std::numeric_limits<std::size_t>::max()};
std::atomic<std::size_t> counted{0};
std::atomic<std::int64_t> until_failure{-1};  // below 0: no allocation fails

}  // namespace

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define OTHER_HEAP
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || !defined(__GLIBC__)
#define OTHER_HEAP
#endif

#ifndef OTHER_HEAP
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
#endif

namespace eigenformer::testing {

bool can_count_allocations() {
#ifdef OTHER_HEAP
  return false;
#else
  return true;
#endif
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
