// A linear map's weight, copied once into the order in which the product reads it.
#pragma once

#include <span>

#include "eigenformer/core/check.hpp"
#include "eigenformer/kernels/detail/gemm/product.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// For inference, where a weight is used many times and never changes: linear_forward with it spares the copy that
/// every product makes of a plain weight, which for few tokens takes longer than the product. Results are the same to
/// the last bit.
template <class Scalar>
class PackedWeight {
 public:
  PackedWeight() = default;
  /// weight: [outputs x inputs].
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
  /// The packed weights of a panel's outputs, from output `first` on, a multiple of the panel's width. For kernels.
  const Scalar* panel(Index first) const { return panels_.data() + first * inputs_; }

 private:
  Index outputs_ = 0;
  Index inputs_ = 0;
  Matrix<Scalar> panels_;  // one below the other, [inputs x panel_width] each
};

}  // namespace eigenformer::inline EIGENFORMER_ABI
