// Memory for the matrices of one step, reused by the next.
#pragma once

#include <algorithm>
#include <cstddef>
#include <limits>
#include <memory>
#include <new>
#include <utility>
#include <vector>

#include "eigenformer/core/check.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// Lends reference-counted blocks of memory and reuses them. Blocks may outlive the workspace.
///
/// A step begins when a block is asked for while no other block is lent. The workspace then merges its memory into one
/// chunk. Later steps that ask for at most this much memory in total allocate nothing from the system, whatever their
/// shapes.
///
/// Not thread-safe: one thread at a time may use a workspace and its blocks.
class Workspace {
 public:
  /// Returns uninitialised memory for `count` scalars, aligned to 64 bytes. Throws std::bad_alloc if there is no
  /// memory, and an Error if `count` is negative or too large. Releasing the memory never fails.
  template <class Scalar>
  std::shared_ptr<Scalar> allocate(Index count) {
    static_assert(std::is_trivially_destructible_v<Scalar>, "a workspace holds plain numbers");
    const std::size_t bytes = bytes_for<Scalar>(count);
    std::byte* block = memory_->allocate(bytes);
    const auto release = [list = memory_.get(), bytes](Scalar* scalars) {  // OwnerAllocator keeps the list alive
      list->release(reinterpret_cast<std::byte*>(scalars), bytes);
    };
    return std::shared_ptr<Scalar>(reinterpret_cast<Scalar*>(block), release, OwnerAllocator<Scalar>(memory_));
  }

  /// Returns uninitialised memory for `count` scalars from `workspace`, or from the heap if it is null.
  template <class Scalar>
  static std::shared_ptr<Scalar> allocate_from(Workspace* workspace, Index count) {
    return workspace != nullptr ? workspace->allocate<Scalar>(count) : allocate_from_heap<Scalar>(count);
  }

  /// Returns uninitialised memory for `count` scalars from the heap, aligned to 64 bytes. For callers without a
  /// workspace. Throws like `allocate`.
  template <class Scalar>
  static std::shared_ptr<Scalar> allocate_from_heap(Index count) {
    std::byte* block = new_block(bytes_for<Scalar>(count));
    return std::shared_ptr<Scalar>(reinterpret_cast<Scalar*>(block),
                                   [](Scalar* scalars) { DeleteBlock()(reinterpret_cast<std::byte*>(scalars)); });
  }

  /// Bytes held, whether lent or free.
  std::size_t capacity() const { return memory_->capacity(); }
  /// The number of chunks allocated from the system so far. After the largest step it usually grows once more at most,
  /// when the next step begins and merges the chunks.
  std::size_t system_allocations() const { return memory_->chunks_made(); }

 private:
  static constexpr std::size_t block_alignment = 64;  // a cache line, and the widest SIMD register

  static std::byte* new_block(std::size_t bytes) {
    return static_cast<std::byte*>(::operator new(bytes, std::align_val_t(block_alignment)));
  }
  struct DeleteBlock {
    void operator()(std::byte* block) const { ::operator delete(block, std::align_val_t(block_alignment)); }
  };

  // Memory for the control block of a shared_ptr. Unused ones form a linked list.
  union Owner {
    Owner* next;
    alignas(std::max_align_t) std::byte memory[96];
  };

  // Allocates from chunks by first fit in address order, and merges adjacent free ranges.
  //
  // `release` runs in destructors and must not throw. Only `allocate` therefore asks the system for memory, including
  // the memory of the lists of free ranges.
  class FreeList {
   public:
    FreeList() = default;
    FreeList(const FreeList&) = delete;
    FreeList& operator=(const FreeList&) = delete;
    ~FreeList() {
      while (owners_ != nullptr) delete std::exchange(owners_, owners_->next);
    }

    std::byte* allocate(std::size_t bytes) {
      // A new step begins. Merge the chunks into one: it then fits every later step of at most this size, whatever its
      // shapes.
      if (blocks_ == 0 && chunks_.size() > 1) {
        const std::size_t whole = std::max<std::size_t>(bytes, std::exchange(capacity_, 0));
        chunks_.clear();
        add_chunk(whole);
      }
      std::byte* block = nullptr;
      for (Chunk& chunk : chunks_)
        if ((block = chunk.take(bytes)) != nullptr) break;
      if (block == nullptr) {
        add_chunk(std::max<std::size_t>(bytes, capacity_ / 2));  // grow by half, so that chunks stay few
        block = chunks_.back().take(bytes);
      }
      ++blocks_;
      return block;
    }

    void release(std::byte* block, std::size_t bytes) noexcept {
      const auto chunk =
          std::find_if(chunks_.begin(), chunks_.end(), [&](const Chunk& c) { return c.contains(block); });
      chunk->give_back(block, bytes);
      --blocks_;
    }

    void* allocate_owner() {
      if (owners_ == nullptr) return new Owner;
      return std::exchange(owners_, owners_->next);
    }
    void release_owner(void* owner) noexcept { owners_ = new (owner) Owner{owners_}; }

    std::size_t capacity() const { return capacity_; }
    std::size_t chunks_made() const { return chunks_made_; }

   private:
    struct Range {
      std::size_t begin;
      std::size_t end;
    };
    struct Chunk {
      explicit Chunk(std::size_t bytes) : memory(new_block(bytes)), size(bytes), free{{0, bytes}} {}

      /// Returns a block, or null if no free range is large enough.
      std::byte* take(std::size_t bytes) {
        for (auto range = free.begin(); range != free.end(); ++range) {
          if (range->end - range->begin < bytes) continue;
          if (free.capacity() < blocks + 2) {  // n blocks leave at most n + 1 free ranges
            const auto place = range - free.begin();
            free.reserve(2 * (blocks + 2));
            range = free.begin() + place;
          }
          ++blocks;
          std::byte* block = memory.get() + range->begin;
          range->begin += bytes;
          if (range->begin == range->end) free.erase(range);
          return block;
        }
        return nullptr;
      }
      bool contains(const std::byte* block) const { return block >= memory.get() && block < memory.get() + size; }
      void give_back(const std::byte* block, std::size_t bytes) noexcept {
        --blocks;
        const auto begin = static_cast<std::size_t>(block - memory.get());
        auto next = std::lower_bound(free.begin(), free.end(), begin,
                                     [](const Range& range, std::size_t offset) { return range.begin < offset; });
        const bool joins_next = next != free.end() && next->begin == begin + bytes;
        const bool joins_last = next != free.begin() && std::prev(next)->end == begin;
        if (joins_last && joins_next) {
          std::prev(next)->end = next->end;
          free.erase(next);
        } else if (joins_last) {
          std::prev(next)->end += bytes;
        } else if (joins_next) {
          next->begin = begin;
        } else {
          free.insert(next, {begin, begin + bytes});
        }
      }
      std::unique_ptr<std::byte, DeleteBlock> memory;
      std::size_t size;
      std::vector<Range> free;  // by address, never adjacent; capacity suffices for every release
      std::size_t blocks = 0;   // lent
    };

    void add_chunk(std::size_t bytes) {
      chunks_.emplace_back(bytes);
      ++chunks_made_;
      capacity_ += bytes;
    }

    std::vector<Chunk> chunks_;
    std::size_t blocks_ = 0;  // lent, over all chunks
    std::size_t capacity_ = 0;
    std::size_t chunks_made_ = 0;
    Owner* owners_ = nullptr;  // unused memory for control blocks
  };

  // Allocates the control block of a shared_ptr from the same FreeList as its memory. So lending the memory again
  // allocates nothing from the heap.
  template <class T>
  struct OwnerAllocator {
    using value_type = T;
    explicit OwnerAllocator(std::shared_ptr<FreeList> list) : memory(std::move(list)) {}
    template <class Other>
    OwnerAllocator(const OwnerAllocator<Other>& other) : memory(other.memory) {}  // NOLINT: allocators convert
    T* allocate(std::size_t) {
      static_assert(sizeof(T) <= sizeof(Owner) && alignof(T) <= alignof(Owner));
      return static_cast<T*>(memory->allocate_owner());
    }
    void deallocate(T* owner, std::size_t) noexcept { memory->release_owner(owner); }
    template <class Other>
    bool operator==(const OwnerAllocator<Other>& other) const {
      return memory == other.memory;
    }
    std::shared_ptr<FreeList> memory;
  };

  template <class Scalar>
  static std::size_t bytes_for(Index count) {
    constexpr Index most = (std::numeric_limits<Index>::max)() / Index{sizeof(Scalar)} - Index{block_alignment};
    check(count >= 0 && count <= most, "Workspace: ", count, " numbers are requested, expected 0 to ", most);
    const std::size_t bytes = static_cast<std::size_t>(count) * sizeof(Scalar);
    return std::max<std::size_t>(block_alignment, (bytes + block_alignment - 1) & ~(block_alignment - 1));
  }

  std::shared_ptr<FreeList> memory_ = std::make_shared<FreeList>();
};

}  // namespace eigenformer::inline EIGENFORMER_ABI
