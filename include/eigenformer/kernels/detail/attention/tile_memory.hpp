// Memory for what a kernel keeps of a tile while it works on it.
#pragma once

#include "eigenformer/core/types.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

/// Memory on the stack, or, where that is too little, on the heap. Not initialised.
template <class Scalar>
class TileMemory {
 public:
  explicit TileMemory(Index size) {
    if (size > capacity) heap_.resize(size);
    data_ = size > capacity ? heap_.data() : stack_;
  }
  TileMemory(const TileMemory&) = delete;
  TileMemory& operator=(const TileMemory&) = delete;

  static constexpr Index capacity = 65536 / static_cast<Index>(sizeof(Scalar));
  Scalar* data() const { return data_; }

 private:
  Scalar* data_;
  alignas(64) Scalar stack_[capacity];
  Eigen::Matrix<Scalar, Eigen::Dynamic, 1> heap_;  // aligned for packets, which a vector is not
};

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
