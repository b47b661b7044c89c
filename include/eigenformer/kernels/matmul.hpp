// Matrix products, and linear maps with a weight [outputs x inputs].
//
// Options give threads and the precision of the products. With Precision::bfloat16, float operands are rounded to
// bfloat16; products of other types throw:
//
//   matmul_forward<float>(a, b, y, {&pool, Precision::bfloat16});
#pragma once

#include "eigenformer/core/check.hpp"
#include "eigenformer/kernels/detail/gemm/bfloat16_product.hpp"
#include "eigenformer/kernels/detail/rows/row_blocks.hpp"
#include "eigenformer/kernels/packed_weight.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// Writes y = a b. a: [m x k], b: [k x n], y: [m x n]. Throws if shapes do not fit.
template <class Scalar>
void matmul_forward(const ConstMatrixRef<Scalar>& a, const ConstMatrixRef<Scalar>& b, MatrixRef<Scalar> y,
                    const ProductOptions& options = {}) {
  check(a.cols() == b.rows(), "matmul: a is ", shape(a), ", b is ", shape(b));
  check_shape("matmul", "y", shape(y), {a.rows(), b.cols()});
  detail::multiply<Scalar>({.rows = y.rows(),
                            .cols = y.cols(),
                            .depth = a.cols(),
                            .a = {a.data(), a.outerStride(), 1},
                            .b = {b.data(), b.outerStride(), 1},
                            .start = {},
                            .c = {y.data(), y.outerStride()}},
                           options);
}

/// Writes the gradient of a: d_a = d_y b^T. Needs no a. b: [k x n], d_y: [m x n], d_a: [m x k]. Throws if shapes do not
/// fit.
template <class Scalar>
void matmul_backward_left(const ConstMatrixRef<Scalar>& b, const ConstMatrixRef<Scalar>& d_y, MatrixRef<Scalar> d_a,
                          const ProductOptions& options = {}) {
  check(d_y.cols() == b.cols(), "matmul: d_y is ", shape(d_y), ", b is ", shape(b));
  check_shape("matmul", "d_a", shape(d_a), {d_y.rows(), b.rows()});
  detail::multiply<Scalar>({.rows = d_a.rows(),
                            .cols = d_a.cols(),
                            .depth = d_y.cols(),
                            .a = {d_y.data(), d_y.outerStride(), 1},
                            .b = {b.data(), 1, b.outerStride()},
                            .start = {},
                            .c = {d_a.data(), d_a.outerStride()}},
                           options);
}

/// Writes the gradient of b: d_b = a^T d_y. Needs no b. a: [m x k], d_y: [m x n], d_b: [k x n]. Throws if shapes do not
/// fit.
template <class Scalar>
void matmul_backward_right(const ConstMatrixRef<Scalar>& a, const ConstMatrixRef<Scalar>& d_y, MatrixRef<Scalar> d_b,
                           const ProductOptions& options = {}) {
  check(a.rows() == d_y.rows(), "matmul: a is ", shape(a), ", d_y is ", shape(d_y));
  check_shape("matmul", "d_b", shape(d_b), {a.cols(), d_y.cols()});
  detail::multiply<Scalar>({.rows = d_b.rows(),
                            .cols = d_b.cols(),
                            .depth = d_y.rows(),
                            .a = {a.data(), 1, a.outerStride()},
                            .b = {d_y.data(), d_y.outerStride(), 1},
                            .start = {},
                            .c = {d_b.data(), d_b.outerStride()}},
                           options);
}

/// Leaves a block of the result unchanged.
struct NoEpilogue {
  template <class Scalar>
  void operator()(MatrixRef<Scalar>) const {}
};

namespace detail {

inline void check_linear(Shape x, Shape weight, Shape bias, Shape y) {
  check(x.cols == weight.cols, "linear: x is ", x, ", weight is ", weight);
  check(bias.rows * bias.cols == 0 || bias == Shape{1, weight.rows}, "linear: bias is ", bias, ", weight is ", weight);
  check_shape("linear", "y", y, {x.rows, weight.rows});
}

}  // namespace detail

/// Writes y = x weight^T + bias. x: [tokens x inputs], weight: [outputs x inputs], bias: [1 x outputs] or empty, y:
/// [tokens x outputs]. Throws if shapes do not fit.
///
/// Calls epilogue(block) for each finished block of y, on the thread that computed it. An entrywise epilogue, such as
/// an activation, then needs no second pass through memory.
template <class Scalar, class Epilogue = NoEpilogue>
void linear_forward(const ConstMatrixRef<Scalar>& x, const ConstMatrixRef<Scalar>& weight,
                    const ConstMatrixRef<Scalar>& bias, MatrixRef<Scalar> y, const ProductOptions& options = {},
                    Epilogue epilogue = {}) {
  detail::check_linear(shape(x), shape(weight), shape(bias), shape(y));
  detail::multiply<Scalar>({.rows = y.rows(),
                            .cols = y.cols(),
                            .depth = x.cols(),
                            .a = {x.data(), x.outerStride(), 1},
                            .b = {weight.data(), 1, weight.outerStride()},
                            .start = {bias.size() == 0 ? nullptr : bias.data(), 0},
                            .c = {y.data(), y.outerStride()}},
                           options, [&](Index i, Index rows, Index j, Index cols) {
                             epilogue(MatrixRef<Scalar>(y.block(i, j, rows, cols)));
                           });
}

/// Writes y = x weight^T + bias with a packed weight. x: [tokens x inputs], weight: packed from [outputs x inputs],
/// bias: [1 x outputs] or empty, y: [tokens x outputs]. With a float32 weight, results equal those with the plain
/// weight to the last bit; for other types see PackedWeight. The precision of the options is ignored: the type of the
/// weight decides. Calls epilogue(block) for each finished block of y, on the thread that computed it. Throws if shapes
/// do not fit.
///
/// Panels hold all inputs. Panels of 256 inputs would fit into the L1 cache, but are slower.
/// Measured: Zen 3, 512 and 2048 inputs, 1 to 4096 rows: panels of 256 inputs reach 0.94 to 0.98 times the speed.
template <class Scalar, class Epilogue = NoEpilogue>
void linear_forward(const ConstMatrixRef<Scalar>& x, const PackedWeight<Scalar>& weight,
                    const ConstMatrixRef<Scalar>& bias, MatrixRef<Scalar> y, const ProductOptions& options = {},
                    Epilogue epilogue = {}) {
  detail::check_linear(shape(x), {weight.outputs(), weight.inputs()}, shape(bias), shape(y));
  if constexpr (std::is_same_v<Scalar, float>)
    if (weight.type() != WeightType::float32)
      return weight.with_reduced([&](const auto& reduced) {
        reduced.multiply({x, bias, y}, options.threads, epilogue);
      });
  constexpr Index width = detail::panel_width<Scalar>;
  detail::for_each_product_block<Scalar>(
      y.rows(), y.cols(), options.threads, [&](Index i, Index rows, Index j, Index cols) {
        for (Index panel = j; panel < j + cols; panel += width)
          detail::multiply_panel<Scalar>({.rows = rows,
                                          .cols = std::min<Index>(width, j + cols - panel),
                                          .depth = x.cols(),
                                          .a = {x.data() + i * x.outerStride(), x.outerStride(), 1},
                                          .b = {weight.panel(panel), width},
                                          .start = {bias.size() == 0 ? nullptr : bias.data() + panel, 0},
                                          .c = {y.data() + i * y.outerStride() + panel, y.outerStride()}});
        epilogue(MatrixRef<Scalar>(y.block(i, j, rows, cols)));
      });
}

/// Writes d_x = d_y weight. weight: [outputs x inputs], d_y: [tokens x outputs], d_x: [tokens x inputs]. Throws if
/// shapes do not fit.
template <class Scalar>
void linear_backward_input(const ConstMatrixRef<Scalar>& weight, const ConstMatrixRef<Scalar>& d_y,
                           MatrixRef<Scalar> d_x, const ProductOptions& options = {}) {
  matmul_forward<Scalar>(d_y, weight, d_x, options);
}

/// Writes d_weight = d_y^T x. x: [tokens x inputs], d_y: [tokens x outputs], d_weight: [outputs x inputs]. Throws if
/// shapes do not fit.
template <class Scalar>
void linear_backward_weight(const ConstMatrixRef<Scalar>& x, const ConstMatrixRef<Scalar>& d_y,
                            MatrixRef<Scalar> d_weight, const ProductOptions& options = {}) {
  matmul_backward_right<Scalar>(d_y, x, d_weight, options);
}

/// Writes d_bias = the sum of the rows of d_y. d_y: [tokens x outputs], d_bias: [1 x outputs]. Throws if shapes do not
/// fit.
template <class Scalar>
void linear_backward_bias(const ConstMatrixRef<Scalar>& d_y, MatrixRef<Scalar> d_bias, Threads* threads = nullptr) {
  check_shape("linear", "d_bias", shape(d_bias), {1, d_y.cols()});
  if (d_y.rows() == 0) return d_bias.setZero(), void();
  parallel_for(threads, d_y.cols(), 64, [&](Index begin, Index end) {
    detail::sum_rows(d_y.data() + begin, d_y.outerStride(), d_y.rows(), end - begin, d_bias.data() + begin);
  });
}

/// Returns a b, [m x n]. a: [m x k], b: [k x n], any Eigen matrices or expressions with the same scalar type. Throws if
/// shapes do not fit.
template <class A, class B>
Matrix<typename A::Scalar> matmul(const Eigen::MatrixBase<A>& a, const Eigen::MatrixBase<B>& b,
                                  const ProductOptions& options = {}) {
  static_assert(std::is_same_v<typename A::Scalar, typename B::Scalar>, "matmul: both matrices have one scalar type");
  Matrix<typename A::Scalar> y(a.rows(), b.cols());
  matmul_forward<typename A::Scalar>(a.derived(), b.derived(), y, options);
  return y;
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
