// Layer normalisation (Ba, Kiros and Hinton 2016, "Layer Normalization", equation 4) over the features of each row.
#pragma once

#include <cmath>

#include "eigenformer/core/check.hpp"
#include "eigenformer/kernels/detail/rows/row_blocks.hpp"
#include "eigenformer/kernels/detail/rows/row_pieces.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// The inputs of layer norm.
template <class Scalar>
struct LayerNormInputs {
  ConstMatrixRef<Scalar> x;     // [rows x features]
  ConstMatrixRef<Scalar> gain;  // [1 x features]
  ConstMatrixRef<Scalar> bias;  // [1 x features]
};

/// The inputs of layer norm of the sum a + b.
template <class Scalar>
struct AddLayerNormInputs {
  ConstMatrixRef<Scalar> a;     // [rows x features]
  ConstMatrixRef<Scalar> b;     // [rows x features]
  ConstMatrixRef<Scalar> gain;  // [1 x features]
  ConstMatrixRef<Scalar> bias;  // [1 x features]
};

/// The outputs of layer norm.
template <class Scalar>
struct LayerNormOutputs {
  MatrixRef<Scalar> y;     // [rows x features]
  MatrixRef<Scalar> mean;  // [rows x 1], for the backward
  MatrixRef<Scalar> rstd;  // [rows x 1], for the backward
};

/// The inputs of the backward of layer norm: x and gain of the forward, and its outputs mean and rstd.
template <class Scalar>
struct LayerNormSaved {
  ConstMatrixRef<Scalar> x;     // [rows x features]
  ConstMatrixRef<Scalar> gain;  // [1 x features]
  ConstMatrixRef<Scalar> mean;  // [rows x 1]
  ConstMatrixRef<Scalar> rstd;  // [rows x 1]
};

/// The outputs of the backward of layer norm.
template <class Scalar>
struct LayerNormGradients {
  MatrixRef<Scalar> d_x;     // [rows x features]
  MatrixRef<Scalar> d_gain;  // [1 x features]
  MatrixRef<Scalar> d_bias;  // [1 x features]
};

namespace detail {

/// Throws if epsilon is below 0, or if the shapes of the other matrices do not fit x.
template <class Scalar>
void check_layer_norm(Shape x, Shape gain, Shape bias, double epsilon, const LayerNormOutputs<Scalar>& to) {
  check(epsilon >= 0, "layer_norm: epsilon is ", epsilon, ", expected 0 or more");
  check_shape("layer_norm", "gain", gain, {1, x.cols});
  check_shape("layer_norm", "bias", bias, {1, x.cols});
  check_shape("layer_norm", "y", shape(to.y), x);
  check_shape("layer_norm", "mean", shape(to.mean), {x.rows, 1});
  check_shape("layer_norm", "rstd", shape(to.rstd), {x.rows, 1});
}

/// The mean of a row, and 1 / sqrt(variance + epsilon).
template <class Scalar>
struct RowMoments {
  Scalar mean;
  Scalar rstd;
};

/// Writes the layer norm of one row to y, and returns its moments. y may be x.
template <class Scalar>
RowMoments<Scalar> layer_norm_row(const Scalar* x, Index features, const Scalar* gain, const Scalar* bias,
                                  double epsilon, Scalar* y) {
  const auto n = static_cast<Sum<Scalar>>(features);
  const auto m =
      static_cast<Scalar>(row_sum<Scalar>(features, [&](Index j, auto count) { return load(x + j, count); }) / n);
  const auto variance =
      row_sum<Scalar>(features,
                      [&](Index j, auto count) -> RowPiece<Scalar> { return (load(x + j, count, m) - m).square(); }) /
      n;
  const auto r = static_cast<Scalar>(1 / std::sqrt(variance + epsilon));
  for_each_piece<Scalar>(features, [&](Index j, auto count) {
    store<Scalar>(y + j, count, (load(x + j, count) - m) * r * load(gain + j, count) + load(bias + j, count));
  });
  return {m, r};
}

}  // namespace detail

/// Writes the layer norm of each row: y = (x - mean) rstd * gain + bias, with rstd = 1 / sqrt(variance + epsilon). The
/// variance is mean((x - mean)^2), computed in a second pass, so that a large mean costs no precision. y may be x if x
/// is not needed again. Throws if shapes do not fit or epsilon < 0.
///
/// The paper has no epsilon; all implementations do.
template <class Scalar>
void layer_norm_forward(const LayerNormInputs<Scalar>& in, double epsilon, LayerNormOutputs<Scalar> to,
                        Threads* threads = nullptr) {
  detail::check_layer_norm(shape(in.x), shape(in.gain), shape(in.bias), epsilon, to);
  const Index features = in.x.cols();
  detail::for_each_row(threads, in.x.rows(), features, [&](Index i) {
    const auto [mean, rstd] = detail::layer_norm_row(detail::row_begin(in.x, i), features, in.gain.data(),
                                                     in.bias.data(), epsilon, detail::row_begin(to.y, i));
    to.mean(i, 0) = mean;
    to.rstd(i, 0) = rstd;
  });
}

/// Writes sum = a + b and the layer norm of sum, row by row: a residual connection and its norm in one pass over
/// memory. sum: [rows x features]. y may be sum, which is then overwritten. Throws if shapes do not fit or epsilon < 0.
template <class Scalar>
void add_layer_norm_forward(const AddLayerNormInputs<Scalar>& in, double epsilon, MatrixRef<Scalar> sum,
                            LayerNormOutputs<Scalar> to, Threads* threads = nullptr) {
  check_shape("add_layer_norm", "b", shape(in.b), shape(in.a));
  check_shape("add_layer_norm", "sum", shape(sum), shape(in.a));
  detail::check_layer_norm(shape(in.a), shape(in.gain), shape(in.bias), epsilon, to);
  const Index features = in.a.cols();
  detail::for_each_row(threads, in.a.rows(), features, [&](Index i) {
    const Scalar* a_row = detail::row_begin(in.a, i);
    const Scalar* b_row = detail::row_begin(in.b, i);
    Scalar* sum_row = detail::row_begin(sum, i);
    detail::for_each_piece<Scalar>(features, [&](Index j, auto count) {
      detail::store<Scalar>(sum_row + j, count, detail::load(a_row + j, count) + detail::load(b_row + j, count));
    });
    const auto [mean, rstd] = detail::layer_norm_row<Scalar>(sum_row, features, in.gain.data(), in.bias.data(), epsilon,
                                                             detail::row_begin(to.y, i));
    to.mean(i, 0) = mean;
    to.rstd(i, 0) = rstd;
  });
}

/// Writes the gradients of layer_norm_forward. d_y: [rows x features]; d_x may be d_y. Throws if shapes do not fit.
///
/// With z = (x - mean) rstd and d_z = d_y * gain:
///   d_x = rstd (d_z - mean(d_z) - z mean(d_z * z))
///   d_gain = sum over rows of d_y * z
///   d_bias = sum over rows of d_y
template <class Scalar>
void layer_norm_backward(const LayerNormSaved<Scalar>& saved, const ConstMatrixRef<Scalar>& d_y,
                         LayerNormGradients<Scalar> to, Threads* threads = nullptr) {
  const Index rows = saved.x.rows(), features = saved.x.cols();
  check_shape("layer_norm", "gain", shape(saved.gain), {1, features});
  check_shape("layer_norm", "mean", shape(saved.mean), {rows, 1});
  check_shape("layer_norm", "rstd", shape(saved.rstd), {rows, 1});
  check_shape("layer_norm", "d_y", shape(d_y), {rows, features});
  check_shape("layer_norm", "d_x", shape(to.d_x), {rows, features});
  check_shape("layer_norm", "d_gain", shape(to.d_gain), {1, features});
  check_shape("layer_norm", "d_bias", shape(to.d_bias), {1, features});
  using detail::load;
  const Scalar* gain_row = saved.gain.data();
  const auto one_row = [&](Index i, Scalar* d_gain_sum, Scalar* d_bias_sum) {
    const Scalar* x_row = detail::row_begin(saved.x, i);
    const Scalar* d_y_row = detail::row_begin(d_y, i);
    Scalar* d_x_row = detail::row_begin(to.d_x, i);
    const Scalar m = saved.mean(i, 0);
    const Scalar r = saved.rstd(i, 0);
    const auto [sum, sum_z] = detail::row_sums<Scalar, 2>(features, [&](auto& lanes, Index j, auto count) {
      const detail::RowPiece<Scalar> d_y_piece = load(d_y_row + j, count);
      const detail::RowPiece<Scalar> z = (load(x_row + j, count) - m) * r;
      const detail::RowPiece<Scalar> d_z = d_y_piece * load(gain_row + j, count);
      lanes[0] += d_z;
      lanes[1] += d_z * z;
      detail::store<Scalar>(d_gain_sum + j, count, load(d_gain_sum + j, count) + d_y_piece * z);
      detail::store<Scalar>(d_bias_sum + j, count, load(d_bias_sum + j, count) + d_y_piece);
    });
    const auto n = static_cast<detail::Sum<Scalar>>(features);
    const auto mean_d_z = static_cast<Scalar>(sum / n);
    const auto mean_d_z_z = static_cast<Scalar>(sum_z / n);
    detail::for_each_piece<Scalar>(features, [&](Index j, auto count) {
      const detail::RowPiece<Scalar> z = (load(x_row + j, count) - m) * r;
      const detail::RowPiece<Scalar> d_z = load(d_y_row + j, count) * load(gain_row + j, count);
      detail::store<Scalar>(d_x_row + j, count, r * (d_z - mean_d_z - z * mean_d_z_z));
    });
  };
  detail::sum_over_rows<Scalar, 2>(threads, rows, features, {to.d_gain.data(), to.d_bias.data()},
                                   [&](Index begin, Index end, const std::array<Scalar*, 2>& sums) {
                                     for (Index i = begin; i < end; ++i) one_row(i, sums[0], sums[1]);
                                   });
}

/// Returns the layer norm of each row: [rows x features]. x: [rows x features], any Eigen matrix or expression; gain,
/// bias: [1 x features]. Throws if shapes do not fit or epsilon < 0.
template <class Derived, class Gain, class Bias>
Matrix<typename Derived::Scalar> layer_norm(const Eigen::MatrixBase<Derived>& x, const Eigen::MatrixBase<Gain>& gain,
                                            const Eigen::MatrixBase<Bias>& bias, double epsilon = 1e-5,
                                            Threads* threads = nullptr) {
  using Scalar = typename Derived::Scalar;
  Matrix<Scalar> y(x.rows(), x.cols());
  Matrix<Scalar> mean(x.rows(), 1);
  Matrix<Scalar> rstd(x.rows(), 1);
  layer_norm_forward<Scalar>({x.derived(), gain.derived(), bias.derived()}, epsilon, {y, mean, rstd}, threads);
  return y;
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
