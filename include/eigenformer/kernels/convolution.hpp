// Convolution over the tokens of each sequence of a ragged batch.
//
// In the forward and the gradient of x, each tap of the kernel is a matrix product with shifted rows, so nothing is
// unfolded and no zeros are multiplied. (The gradient of the weight unfolds panels of x.) A block of the result
// accumulates the taps in turn. Each panel of the weight is packed once per block and used for all sequences in it.
// Every entry is one chain of multiply-adds, over the taps and, within each tap, over the inputs. So a sequence's
// results are identical in any batch, or alone, and for any number of threads.
#pragma once

#include <algorithm>
#include <limits>

#include "eigenformer/core/named_enum.hpp"
#include "eigenformer/core/row_offsets.hpp"
#include "eigenformer/kernels/detail/convolution/taps.hpp"
#include "eigenformer/kernels/matmul.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// Which tokens a result reads besides its own: tokens on both sides, or only earlier ones.
enum class ConvolutionPadding { same, causal };

constexpr auto enum_names(ConvolutionPadding) {
  return std::to_array<EnumName<ConvolutionPadding>>(
      {{ConvolutionPadding::same, "same"}, {ConvolutionPadding::causal, "causal"}});
}

/// The tokens that a convolution reads.
struct ConvolutionWindow {
  Index kernel = 3;    // taps
  Index dilation = 1;  // from one tap to the next
  ConvolutionPadding padding = ConvolutionPadding::same;

  /// The number of positions by which the first tap lies before the result's token. Both paddings keep the length of
  /// the input. `same` is PyTorch's padding='same': if (kernel - 1) * dilation is odd, the extra row lies after the
  /// token.
  Index before() const {
    const Index all = (kernel - 1) * dilation;
    return padding == ConvolutionPadding::causal ? all : all / 2;
  }
};

/// The inputs of a convolution.
template <class Scalar>
struct ConvolutionInputs {
  ConstMatrixRef<Scalar> x;       // [tokens x inputs]
  ConstMatrixRef<Scalar> weight;  // [outputs x kernel * inputs]: the taps W_0, W_1, .. side by side
  ConstMatrixRef<Scalar> bias;    // [1 x outputs], or empty for none
};

/// The inputs of a convolution with a packed weight.
template <class Scalar>
struct PackedConvolutionInputs {
  ConstMatrixRef<Scalar> x;            // [tokens x inputs]
  const PackedWeight<Scalar>& weight;  // of [outputs x kernel * inputs]
  ConstMatrixRef<Scalar> bias;         // [1 x outputs], or empty for none
};

namespace detail {

/// The taps from a token to the tokens it reads.
inline Taps taps_of(const ConvolutionWindow& window) {
  return {window.kernel, -window.before(), window.dilation};
}
/// The taps from a token to the tokens that read it.
inline Taps taps_to(const ConvolutionWindow& window) {
  return {window.kernel, window.before(), -window.dilation};
}

/// Throws unless the window and the weight fit x.
inline void check_convolution(Shape x, Shape weight, const ConvolutionWindow& window) {
  check(window.kernel >= 1 && window.dilation >= 1, "convolution: kernel is ", window.kernel, ", dilation ",
        window.dilation, ", expected 1 or more");
  constexpr Index most = (std::numeric_limits<Index>::max)() / 4;  // sums with rows of x do not overflow either
  check(window.kernel - 1 <= most / window.dilation && window.kernel <= most / std::max<Index>(x.cols, 1),
        "convolution: kernel is ", window.kernel, ", dilation ", window.dilation, ", x is ", x,
        ", expected sizes whose products an Index can hold");
  check(weight.cols == window.kernel * x.cols, "convolution: weight is ", weight, ", x is ", x, ", kernel is ",
        window.kernel, ", expected ", window.kernel * x.cols, " columns");
}
inline void check_convolution(Shape x, Shape weight, const ConvolutionWindow& window, Shape bias, Shape y) {
  check_convolution(x, weight, window);
  check(bias.rows * bias.cols == 0 || bias == Shape{1, weight.rows}, "convolution: bias is ", bias, ", weight is ",
        weight);
  check_shape("convolution", "y", y, {x.rows, weight.rows});
}

}  // namespace detail

/// Writes y_i = bias + sum over k of W_k x_(i + k * dilation - before) within each sequence. Rows outside the sequence
/// count as zeros. y: [tokens x outputs]; must not be x. Throws if shapes do not fit.
///
/// Like PyTorch's, this is a cross-correlation. PyTorch's weight [outputs, inputs, kernel] is here
/// weight.permute(0, 2, 1).reshape(outputs, -1).
template <class Scalar>
void convolution_forward(const ConvolutionInputs<Scalar>& in, const RowOffsets& rows, const ConvolutionWindow& window,
                         MatrixRef<Scalar> y, Threads* threads = nullptr) {
  detail::check_convolution(shape(in.x), shape(in.weight), window, shape(in.bias), shape(y));
  const detail::Strided<Scalar> transpose{in.weight.data(), 1, in.weight.outerStride()};
  detail::multiply_taps<Scalar>({in.x, rows.for_rows(in.x.rows(), "convolution", "x"), detail::taps_of(window)},
                                in.bias.size() == 0 ? nullptr : in.bias.data(), y, threads,
                                [&](Index k, Index row, Index depth, Index col, Index cols, Scalar* buffer) {
                                  const detail::ContiguousRows<Scalar> panel{buffer, detail::panel_width<Scalar>};
                                  detail::pack_panel<Scalar>(depth, cols, transpose.from(k * in.x.cols() + row, col),
                                                             panel);
                                  return detail::ContiguousRows<const Scalar>{panel.data, panel.stride};
                                });
}

/// Writes the convolution of x with a packed weight to y: [tokens x outputs]; must not be x. Results equal those with
/// the plain weight to the last bit. Throws if shapes do not fit or the packed weight is not of float32.
template <class Scalar>
void convolution_forward(const PackedConvolutionInputs<Scalar>& in, const RowOffsets& rows,
                         const ConvolutionWindow& window, MatrixRef<Scalar> y, Threads* threads = nullptr) {
  check(in.weight.type() == WeightType::float32, "convolution: the packed weight is of ", to_string(in.weight.type()),
        ", expected float32");
  detail::check_convolution(shape(in.x), {in.weight.outputs(), in.weight.inputs()}, window, shape(in.bias), shape(y));
  detail::multiply_taps<Scalar>(
      {in.x, rows.for_rows(in.x.rows(), "convolution", "x"), detail::taps_of(window)},
      in.bias.size() == 0 ? nullptr : in.bias.data(), y, threads,
      [&](Index k, Index row, Index, Index col, Index, Scalar*) {
        constexpr Index width = detail::panel_width<Scalar>;
        return detail::ContiguousRows<const Scalar>{in.weight.panel(col), width}.from(k * in.x.cols() + row, 0);
      });
}

/// Writes the gradient of x: d_x_j = sum over k of d_y_(j - k * dilation + before) W_k. Needs no x.
/// d_y: [tokens x outputs]; d_x: [tokens x inputs]; must not be d_y. Throws if shapes do not fit.
template <class Scalar>
void convolution_backward_input(const ConstMatrixRef<Scalar>& weight, const ConstMatrixRef<Scalar>& d_y,
                                const RowOffsets& rows, const ConvolutionWindow& window, MatrixRef<Scalar> d_x,
                                Threads* threads = nullptr) {
  detail::check_convolution(shape(d_x), shape(weight), window);
  check_shape("convolution", "d_y", shape(d_y), {d_x.rows(), weight.rows()});
  const detail::Strided<Scalar> taps{weight.data(), weight.outerStride(), 1};
  detail::multiply_taps<Scalar>({d_y, rows.for_rows(d_y.rows(), "convolution", "d_y"), detail::taps_to(window)},
                                nullptr, d_x, threads,
                                [&](Index k, Index row, Index depth, Index col, Index cols, Scalar* buffer) {
                                  const detail::ContiguousRows<Scalar> panel{buffer, detail::panel_width<Scalar>};
                                  detail::pack_panel<Scalar>(depth, cols, taps.from(row, k * d_x.cols() + col), panel);
                                  return detail::ContiguousRows<const Scalar>{panel.data, panel.stride};
                                });
}

/// Writes the gradient of the weight: d_W_k = sum over i of d_y_i^T x_(i + k * dilation - before). Needs no weight.
/// d_weight: [outputs x kernel * inputs]. linear_backward_bias(d_y, d_bias) gives the gradient of the bias. Throws if
/// shapes do not fit.
template <class Scalar>
void convolution_backward_weight(const ConstMatrixRef<Scalar>& x, const ConstMatrixRef<Scalar>& d_y,
                                 const RowOffsets& rows, const ConvolutionWindow& window, MatrixRef<Scalar> d_weight,
                                 Threads* threads = nullptr) {
  detail::check_convolution(shape(x), shape(d_weight), window);
  check_shape("convolution", "d_y", shape(d_y), {x.rows(), d_weight.rows()});
  const detail::TappedRows<Scalar> tapped{x, rows.for_rows(x.rows(), "convolution", "x"), detail::taps_of(window)};
  constexpr Index width = detail::panel_width<Scalar>;
  constexpr Index panel_depth = 256;
  d_weight.setZero();
  // Multiplies d_y^T by the unfolded x. Panels of x are unfolded one at a time.
  detail::for_each_product_block<Scalar>(
      d_weight.rows(), d_weight.cols(), threads, [&](Index i, Index block_rows, Index j, Index block_cols) {
        alignas(64) Scalar panel[panel_depth * width];
        for (Index row = 0; row < x.rows(); row += panel_depth)
          for (Index col = j; col < j + block_cols; col += width) {
            const Index depth = std::min<Index>(panel_depth, x.rows() - row),
                        cols = std::min<Index>(width, j + block_cols - col);
            detail::pack_unfolded<Scalar>(tapped, row, depth, col, cols, {panel, width});
            const detail::ContiguousRows<Scalar> sums{d_weight.data() + i * d_weight.outerStride() + col,
                                                      d_weight.outerStride()};
            detail::multiply_panel<Scalar>({.rows = block_rows,
                                            .cols = cols,
                                            .depth = depth,
                                            .a = {d_y.data() + row * d_y.outerStride() + i, 1, d_y.outerStride()},
                                            .b = {panel, width},
                                            .start = {sums.data, sums.stride},
                                            .c = sums});
          }
      });
}

/// Returns the convolution of each sequence: [tokens x outputs]. x: [tokens x inputs], any Eigen matrix or expression;
/// weight: [outputs x kernel * inputs]; bias: [1 x outputs] or empty. Throws if shapes do not fit.
template <class X, class Weight, class Bias>
Matrix<typename X::Scalar> convolution(const Eigen::MatrixBase<X>& x, const Eigen::MatrixBase<Weight>& weight,
                                       const Eigen::MatrixBase<Bias>& bias, const ConvolutionWindow& window = {},
                                       const RowOffsets& rows = {}, Threads* threads = nullptr) {
  using Scalar = typename X::Scalar;
  Matrix<Scalar> y(x.rows(), weight.rows());
  convolution_forward<Scalar>({x.derived(), weight.derived(), bias.derived()}, rows, window, y, threads);
  return y;
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
