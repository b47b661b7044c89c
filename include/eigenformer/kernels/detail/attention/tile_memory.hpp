// Scratch memory for the tile that a kernel works on.
#pragma once

#include "eigenformer/core/types.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

/// Uninitialised memory for `size` entries: on the stack if they fit, else on the heap.
template <class Scalar>
class TileMemory {
 public:
  explicit TileMemory(Index size) {
    if (size > capacity) heap_.resize(size);
    data_ = size > capacity ? heap_.data() : stack_;
  }
  TileMemory(const TileMemory&) = delete;
  TileMemory& operator=(const TileMemory&) = delete;

  /// The largest size that fits on the stack.
  static constexpr Index capacity = 65536 / static_cast<Index>(sizeof(Scalar));
  Scalar* data() const { return data_; }

 private:
  Scalar* data_;
  alignas(64) Scalar stack_[capacity];
  Eigen::Matrix<Scalar, Eigen::Dynamic, 1> heap_;  // aligned for packets, unlike std::vector
};

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
