// Keeps infinite and NaN values of hidden keys out of the results.
#pragma once

#include "eigenformer/core/detail/compiled.hpp"
#include "eigenformer/kernels/detail/attention/block_partition.hpp"
#include "eigenformer/kernels/detail/attention/score_calls.hpp"
#include "eigenformer/kernels/detail/attention/tile_parts.hpp"
#include "eigenformer/kernels/detail/tile_memory.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

/// A copy of a tile's scores, taken before softmax turns them into weights, because only scores tell which keys are
/// hidden. Empty unless hidden keys are skipped.
template <class Scalar>
class ScoresBefore {
 public:
  ScoresBefore(HiddenKeys hidden, const Scalar* scores, Index count)
      : memory_(hidden == HiddenKeys::skipped ? count : 0), data_(nullptr) {
    if (hidden == HiddenKeys::skipped) {
      std::copy_n(scores, count, memory_.data());
      data_ = memory_.data();
    }
  }
  /// Returns the scores; null if hidden keys are weighted by zero.
  const Scalar* data() const { return data_; }

 private:
  TileMemory<Scalar> memory_;
  const Scalar* data_;
};

/// Adds weights times values to results [width x block_queries], for the keys of a part that are not hidden. If all
/// values are finite, this equals the matrix product to the last bit. scores, weights: [keys x block_queries] of the
/// whole tile.
template <class Scalar>
EIGEN_DONT_INLINE void add_visible_values(const TilePart& part, const Scalar* scores, const Scalar* weights,
                                          const Strided<Scalar>& values, Index width, Scalar* results) {
  constexpr Index n = block_queries<Scalar>, lanes = simd::lanes<Scalar>;
  const auto lowest = simd::broadcast(std::numeric_limits<Scalar>::lowest());
  for (Index f = 0; f < width; ++f)
    for (Index i = part.packet * lanes; i < (part.packet + part.packets) * lanes; i += lanes) {
      auto sum = simd::load(results + f * n + i);
      for (Index j = part.key; j < part.key + part.keys; ++j) {
        const auto added = simd::multiply_add(simd::broadcast(values(j, f)), simd::load(weights + j * n + i), sum);
        sum = simd::select_less(simd::load(scores + j * n + i), lowest, sum, added);
      }
      simd::store(results + f * n + i, sum);
    }
}

EIGENFORMER_FLOAT(void add_visible_values(const TilePart&, const float*, const float*, const Strided<float>&, Index,
                                          float*));
EIGENFORMER_DOUBLE(void add_visible_values(const TilePart&, const double*, const double*, const Strided<double>&, Index,
                                           double*));

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
