// Layer normalisation (Ba, Kiros and Hinton 2016, "Layer Normalization", equation 4), over each row's features.
#pragma once

#include <cmath>

#include "eigenformer/core/check.hpp"
#include "eigenformer/kernels/detail/rows/lanes.hpp"
#include "eigenformer/kernels/detail/rows/row_blocks.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

namespace detail {

inline void check_layer_norm(Shape x, Shape gain, Shape bias, double epsilon, Shape y, Shape mean, Shape rstd) {
  check(epsilon >= 0, "layer_norm: epsilon is ", epsilon, ", expected 0 or more");
  check_shape("layer_norm", "gain", gain, {1, x.cols});
  check_shape("layer_norm", "bias", bias, {1, x.cols});
  check_shape("layer_norm", "y", y, x);
  check_shape("layer_norm", "mean", mean, {x.rows, 1});
  check_shape("layer_norm", "rstd", rstd, {x.rows, 1});
}

/// One row; y may be x.
template <class Scalar>
void layer_norm_row(const Scalar* x, Index features, const Scalar* gain, const Scalar* bias, double epsilon, Scalar* y,
                    Scalar& mean, Scalar& rstd) {
  const auto n = static_cast<Sum<Scalar>>(features);
  const auto m =
      static_cast<Scalar>(row_sum<Scalar>(features, [&](Index j, auto count) { return load(x + j, count); }) / n);
  const auto variance =
      row_sum<Scalar>(features,
                      [&](Index j, auto count) -> Lanes<Scalar> { return (load(x + j, count, m) - m).square(); }) /
      n;
  const auto r = static_cast<Scalar>(1 / std::sqrt(variance + epsilon));
  for_lanes<Scalar>(features, [&](Index j, auto count) {
    store<Scalar>(y + j, count, (load(x + j, count) - m) * r * load(gain + j, count) + load(bias + j, count));
  });
  mean = m;
  rstd = r;
}

}  // namespace detail

/// y = (x - mean) rstd * gain + bias with rstd = 1 / sqrt(variance + epsilon), over each row; the variance is
/// mean((x - mean)^2), taken in a pass of its own, so that a large mean costs no digits.
/// x, y: [rows x features]; gain, bias: [1 x features]; mean, rstd: [rows x 1], kept for the backward; y may be x if x
/// is not needed again.
/// Departs from the paper in epsilon, as all implementations do.
template <class Scalar>
void layer_norm_forward(const ConstMatrixRef<Scalar>& x, const ConstMatrixRef<Scalar>& gain,
                        const ConstMatrixRef<Scalar>& bias, double epsilon, MatrixRef<Scalar> y, MatrixRef<Scalar> mean,
                        MatrixRef<Scalar> rstd, Threads* threads = nullptr) {
  detail::check_layer_norm(shape(x), shape(gain), shape(bias), epsilon, shape(y), shape(mean), shape(rstd));
  detail::for_each_row(threads, x.rows(), x.cols(), [&](Index i) {
    detail::layer_norm_row(detail::row_begin(x, i), x.cols(), gain.data(), bias.data(), epsilon,
                           detail::row_begin(y, i), mean(i, 0), rstd(i, 0));
  });
}

/// sum = a + b and y = layer norm of sum, a row at a time: a residual connection and its norm in one pass over memory.
/// a, b, sum, y: [rows x features]; y may be sum, which is then not kept.
template <class Scalar>
void add_layer_norm_forward(const ConstMatrixRef<Scalar>& a, const ConstMatrixRef<Scalar>& b,
                            const ConstMatrixRef<Scalar>& gain, const ConstMatrixRef<Scalar>& bias, double epsilon,
                            MatrixRef<Scalar> sum, MatrixRef<Scalar> y, MatrixRef<Scalar> mean, MatrixRef<Scalar> rstd,
                            Threads* threads = nullptr) {
  check_shape("add_layer_norm", "b", shape(b), shape(a));
  check_shape("add_layer_norm", "sum", shape(sum), shape(a));
  detail::check_layer_norm(shape(a), shape(gain), shape(bias), epsilon, shape(y), shape(mean), shape(rstd));
  detail::for_each_row(threads, a.rows(), a.cols(), [&](Index i) {
    const Scalar* a_row = detail::row_begin(a, i);
    const Scalar* b_row = detail::row_begin(b, i);
    Scalar* sum_row = detail::row_begin(sum, i);
    detail::for_lanes<Scalar>(a.cols(), [&](Index j, auto count) {
      detail::store<Scalar>(sum_row + j, count, detail::load(a_row + j, count) + detail::load(b_row + j, count));
    });
    detail::layer_norm_row(sum_row, a.cols(), gain.data(), bias.data(), epsilon, detail::row_begin(y, i), mean(i, 0),
                           rstd(i, 0));
  });
}

/// With z = (x - mean) rstd and d_z = d_y * gain:
/// d_x = rstd (d_z - mean(d_z) - z mean(d_z * z)), d_gain = sum over rows of d_y * z, d_bias = sum over rows of d_y.
/// mean, rstd: what the forward gave. x, d_y, d_x: [rows x features]; gain, d_gain, d_bias: [1 x features]; d_x may be
/// d_y.
template <class Scalar>
void layer_norm_backward(const ConstMatrixRef<Scalar>& x, const ConstMatrixRef<Scalar>& gain,
                         const ConstMatrixRef<Scalar>& mean, const ConstMatrixRef<Scalar>& rstd,
                         const ConstMatrixRef<Scalar>& d_y, MatrixRef<Scalar> d_x, MatrixRef<Scalar> d_gain,
                         MatrixRef<Scalar> d_bias, Threads* threads = nullptr) {
  const Index features = x.cols();
  check_shape("layer_norm", "gain", shape(gain), {1, features});
  check_shape("layer_norm", "mean", shape(mean), {x.rows(), 1});
  check_shape("layer_norm", "rstd", shape(rstd), {x.rows(), 1});
  check_shape("layer_norm", "d_y", shape(d_y), shape(x));
  check_shape("layer_norm", "d_x", shape(d_x), shape(x));
  check_shape("layer_norm", "d_gain", shape(d_gain), {1, features});
  check_shape("layer_norm", "d_bias", shape(d_bias), {1, features});
  using detail::load;
  const Scalar* gain_row = gain.data();
  const auto one_row = [&](Index i, Scalar* d_gain_sum, Scalar* d_bias_sum) {
    const Scalar* x_row = detail::row_begin(x, i);
    const Scalar* d_y_row = detail::row_begin(d_y, i);
    Scalar* d_x_row = detail::row_begin(d_x, i);
    const Scalar m = mean(i, 0);
    const Scalar r = rstd(i, 0);
    const auto [sum, sum_z] = detail::row_sums<Scalar, 2>(features, [&](auto& lanes, Index j, auto count) {
      const detail::Lanes<Scalar> d_y_piece = load(d_y_row + j, count);
      const detail::Lanes<Scalar> z = (load(x_row + j, count) - m) * r;
      const detail::Lanes<Scalar> d_z = d_y_piece * load(gain_row + j, count);
      lanes[0] += d_z;
      lanes[1] += d_z * z;
      detail::store<Scalar>(d_gain_sum + j, count, load(d_gain_sum + j, count) + d_y_piece * z);
      detail::store<Scalar>(d_bias_sum + j, count, load(d_bias_sum + j, count) + d_y_piece);
    });
    const auto n = static_cast<detail::Sum<Scalar>>(features);
    const auto mean_d_z = static_cast<Scalar>(sum / n);
    const auto mean_d_z_z = static_cast<Scalar>(sum_z / n);
    detail::for_lanes<Scalar>(features, [&](Index j, auto count) {
      const detail::Lanes<Scalar> z = (load(x_row + j, count) - m) * r;
      const detail::Lanes<Scalar> d_z = load(d_y_row + j, count) * load(gain_row + j, count);
      detail::store<Scalar>(d_x_row + j, count, r * (d_z - mean_d_z - z * mean_d_z_z));
    });
  };
  detail::sum_over_rows<Scalar, 2>(threads, x.rows(), features, {d_gain.data(), d_bias.data()},
                                   [&](Index begin, Index end, const std::array<Scalar*, 2>& sums) {
                                     for (Index i = begin; i < end; ++i) one_row(i, sums[0], sums[1]);
                                   });
}

/// The layer norm of each row. x: [rows x features], any Eigen matrix or expression; gain, bias: [1 x features].
template <class Derived, class Gain, class Bias>
Matrix<typename Derived::Scalar> layer_norm(const Eigen::MatrixBase<Derived>& x, const Eigen::MatrixBase<Gain>& gain,
                                            const Eigen::MatrixBase<Bias>& bias, double epsilon = 1e-5,
                                            Threads* threads = nullptr) {
  using Scalar = typename Derived::Scalar;
  Matrix<Scalar> y(x.rows(), x.cols());
  Matrix<Scalar> mean(x.rows(), 1);
  Matrix<Scalar> rstd(x.rows(), 1);
  layer_norm_forward<Scalar>(x.derived(), gain.derived(), bias.derived(), epsilon, y, mean, rstd, threads);
  return y;
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
