// The weight of a linear map, packed once in the order in which the product reads it.
#pragma once

#include <span>

#include "eigenformer/core/check.hpp"
#include "eigenformer/kernels/detail/gemm/product.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// A packed weight [outputs x inputs], for inference, where a weight is used many times and never changes. With a plain
/// weight, every linear_forward packs it again; for few tokens this takes longer than the product. Both give
/// equal results, to the last bit.
template <class Scalar>
class PackedWeight {
 public:
  PackedWeight() = default;
  /// Packs weight: [outputs x inputs].
  explicit PackedWeight(const ConstMatrixRef<Scalar>& weight) : outputs_(weight.rows()), inputs_(weight.cols()) {
    constexpr Index width = detail::panel_width<Scalar>;
    panels_.resize((outputs_ + width - 1) / width * inputs_, width);
    const detail::Strided<Scalar> transpose{weight.data(), 1, weight.outerStride()};
    for (Index j = 0; j < outputs_; j += width)
      detail::pack_panel<Scalar>(inputs_, std::min<Index>(width, outputs_ - j), transpose.from(0, j),
                                 {panels_.data() + j * inputs_, width});
  }

  Index outputs() const { return outputs_; }
  Index inputs() const { return inputs_; }

  /// All packed weights, one panel after another.
  std::span<const Scalar> values() const { return {panels_.data(), static_cast<std::size_t>(panels_.size())}; }
  /// The panel that begins with output `first`, a multiple of the panel width. For kernels.
  const Scalar* panel(Index first) const { return panels_.data() + first * inputs_; }

 private:
  Index outputs_ = 0;
  Index inputs_ = 0;
  Matrix<Scalar> panels_;  // panels [inputs x panel_width], one below the other
};

}  // namespace eigenformer::inline EIGENFORMER_ABI
