// Scratch memory for the tile that a kernel works on.
#pragma once

#include <type_traits>

#include "eigenformer/core/types.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

/// Uninitialised memory for `size` entries: on the stack if they fit, else on the heap. stack_bytes: the size of the
/// memory on the stack.
template <class Scalar, Index stack_bytes = 65536>
class TileMemory {
 public:
  explicit TileMemory(Index size) {
    if (size > capacity) heap_.resize(size * static_cast<Index>(sizeof(Scalar)));
    data_ = reinterpret_cast<Scalar*>(size > capacity ? heap_.data() : stack_);
  }
  TileMemory(const TileMemory&) = delete;
  TileMemory& operator=(const TileMemory&) = delete;

  /// The largest size that fits on the stack.
  static constexpr Index capacity = stack_bytes / static_cast<Index>(sizeof(Scalar));
  Scalar* data() const { return data_; }

 private:
  static_assert(std::is_trivially_copyable_v<Scalar>);
  Scalar* data_;
  // Bytes, because the constructors of Eigen's 16-bit numbers would set the array to zero. For short sequences, that
  // would take a tenth of the time.
  alignas(64) unsigned char stack_[stack_bytes];
  Eigen::Matrix<unsigned char, Eigen::Dynamic, 1> heap_;  // aligned for packets, unlike std::vector
};

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
