// Low-precision weights that are multiplied as floats, for processors without a matrix unit for their type.
//
// A panel of the weight is widened to floats piece by piece, in a buffer that stays in the L1 cache, and multiplied by
// the kernel for floats. So a product reads only the low-precision weight from memory. Its results equal those with the
// widened weight to the last bit.
#pragma once

#include <cstdint>
#include <span>

#include "eigenformer/core/detail/convert.hpp"
#include "eigenformer/kernels/detail/gemm/product.hpp"
#include "eigenformer/kernels/quantization.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

/// The operands of y = x weight^T + bias with a low-precision weight.
struct LinearOperands {
  ConstMatrixRef<float> x;     // [tokens x inputs]
  ConstMatrixRef<float> bias;  // [1 x outputs], or empty
  MatrixRef<float> y;          // [tokens x outputs]
};

/// Converts `count` stored numbers to floats.
EIGEN_ALWAYS_INLINE void widen(const Eigen::bfloat16* from, const float*, Index count, float* to) {
  convert(from, count, to);
}
EIGEN_ALWAYS_INLINE void widen(const std::int8_t* from, const float* scales, Index count, float* to) {
  for (Index i = 0; i < count; ++i) to[i] = static_cast<float>(from[i]) * scales[i];
}

/// A weight [outputs x inputs] of T, in panels as the kernel for floats reads them. T is bfloat16 or int8.
template <class T>
class WidenedWeight {
 public:
  static constexpr Index width = panel_width<float>;

  WidenedWeight() = default;
  explicit WidenedWeight(const ConstMatrixRef<float>& weight)
      : inputs_(weight.cols()),
        panels_(Matrix<T>::Zero((weight.rows() + width - 1) / width * inputs_, width)),
        scales_(Matrix<float>::Ones(1, (weight.rows() + width - 1) / width * width)) {
    Matrix<std::int8_t> integers(1, inputs_);
    for (Index r = 0; r < weight.rows(); ++r) {
      const float* const row = weight.data() + r * weight.outerStride();
      if constexpr (std::is_same_v<T, std::int8_t>) {
        scales_(0, r) = quantization_scale(row, inputs_);
        quantize_row(row, inputs_, scales_(0, r), integers.data());
      }
      for (Index k = 0; k < inputs_; ++k) {
        if constexpr (std::is_same_v<T, std::int8_t>)
          at(r, k) = integers(0, k);
        else
          at(r, k) = T(row[k]);
      }
    }
  }

  std::span<const std::byte> bytes() const {
    return std::as_bytes(std::span(panels_.data(), static_cast<std::size_t>(panels_.size())));
  }
  /// Writes a row of the weight as floats.
  void copy_row(Index r, float* to) const {
    for (Index k = 0; k < inputs_; ++k)
      widen(panels_.data() + (r / width * inputs_ + k) * width + r % width, scales_.data() + r, 1, to + k);
  }

  /// Writes y. Calls epilogue(block) for each finished block of y.
  template <class Epilogue>
  void multiply(LinearOperands operands, Threads* threads, Epilogue& epilogue) const {
    const ConstMatrixRef<float>&x = operands.x, &bias = operands.bias;
    MatrixRef<float>& y = operands.y;
    for_each_product_block<float>(y.rows(), y.cols(), threads, [&](Index i, Index rows, Index j, Index cols) {
      const Strided<float> a{x.data() + i * x.outerStride(), x.outerStride(), 1};
      for (Index panel = j; panel < j + cols; panel += width)
        multiply_by_panel({.rows = rows,
                           .cols = std::min<Index>(width, j + cols - panel),
                           .depth = inputs_,
                           .a = a,
                           .b = {},
                           .start = {bias.size() == 0 ? nullptr : bias.data() + panel, 0},
                           .c = {y.data() + i * y.outerStride() + panel, y.outerStride()}},
                          panel);
      epilogue(MatrixRef<float>(y.block(i, j, rows, cols)));
    });
  }

 private:
  T& at(Index r, Index k) { return panels_.data()[(r / width * inputs_ + k) * width + r % width]; }

  /// Computes the columns of the panel that begins with output `first`. Sets product.b.
  void multiply_by_panel(PackedProduct<float> product, Index first) const {
    constexpr Index largest_depth = 256;
    // With few rows, the buffer must stay in the L1 cache. With many, it must be reused as often as possible.
    const Index depth = product.rows <= 8 ? largest_depth / 4 : largest_depth;
    alignas(64) float panel[largest_depth * width];
    product.b = {panel, width};
    const Strided<float> a = product.a;
    const T* const from = panels_.data() + first * inputs_;
    for (Index k = 0; k == 0 || k < inputs_; k += depth) {
      product.depth = std::min<Index>(depth, inputs_ - k);
      for (Index i = 0; i < product.depth; ++i)
        widen(from + (k + i) * width, scales_.data() + first, width, panel + i * width);
      product.a = a.from(0, k);
      if (k > 0) product.start = {product.c.data, product.c.stride};  // continue from the sums so far
      multiply_panel<float>(product);
    }
  }

  Index inputs_ = 0;
  Matrix<T> panels_;      // panels [inputs x width], one below the other
  Matrix<float> scales_;  // [1 x outputs, padded to whole panels]
};

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
