// Root mean square normalisation (Zhang and Sennrich 2019, "Root Mean Square Layer Normalization", equation 4) over the
// features of each row.
#pragma once

#include <cmath>

#include "eigenformer/core/check.hpp"
#include "eigenformer/kernels/detail/rows/row_blocks.hpp"
#include "eigenformer/kernels/detail/rows/row_pieces.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// The inputs of the backward of RMS norm: x and gain of the forward, and its output rrms.
template <class Scalar>
struct RmsNormSaved {
  ConstMatrixRef<Scalar> x;     // [rows x features]
  ConstMatrixRef<Scalar> gain;  // [1 x features]
  ConstMatrixRef<Scalar> rrms;  // [rows x 1]
};

/// The outputs of the backward of RMS norm.
template <class Scalar>
struct RmsNormGradients {
  MatrixRef<Scalar> d_x;     // [rows x features]
  MatrixRef<Scalar> d_gain;  // [1 x features]
};

/// Writes the RMS norm of each row: y = x rrms * gain, with rrms = 1 / sqrt(mean(x^2) + epsilon).
/// x, y: [rows x features]; gain: [1 x features]; rrms: [rows x 1], saved for the backward. y may be x if x is not
/// needed again. Throws if shapes do not fit or epsilon < 0.
///
/// The paper has no epsilon; all implementations do.
template <class Scalar>
void rms_norm_forward(const ConstMatrixRef<Scalar>& x, const ConstMatrixRef<Scalar>& gain, double epsilon,
                      MatrixRef<Scalar> y, MatrixRef<Scalar> rrms, Threads* threads = nullptr) {
  const Index features = x.cols();
  check(epsilon >= 0, "rms_norm: epsilon is ", epsilon, ", expected 0 or more");
  check_shape("rms_norm", "gain", shape(gain), {1, features});
  check_shape("rms_norm", "y", shape(y), shape(x));
  check_shape("rms_norm", "rrms", shape(rrms), {x.rows(), 1});
  using detail::load;
  const Scalar* gain_row = gain.data();
  detail::for_each_row(threads, x.rows(), features, [&](Index i) {
    const Scalar* x_row = detail::row_begin(x, i);
    Scalar* y_row = detail::row_begin(y, i);
    const auto squares = detail::row_sum<Scalar>(
        features, [&](Index j, auto count) -> detail::RowPiece<Scalar> { return load(x_row + j, count).square(); });
    const auto r = static_cast<Scalar>(1 / std::sqrt(squares / static_cast<detail::Sum<Scalar>>(features) + epsilon));
    detail::for_each_piece<Scalar>(features, [&](Index j, auto count) {
      detail::store<Scalar>(y_row + j, count, load(x_row + j, count) * r * load(gain_row + j, count));
    });
    rrms(i, 0) = r;
  });
}

/// Writes the gradients of rms_norm_forward. d_y: [rows x features]; d_x may be d_y. Throws if shapes do not fit.
///
/// With z = x rrms and d_z = d_y * gain:
///   d_x = rrms (d_z - z mean(d_z * z))
///   d_gain = sum over rows of d_y * z
template <class Scalar>
void rms_norm_backward(const RmsNormSaved<Scalar>& saved, const ConstMatrixRef<Scalar>& d_y,
                       RmsNormGradients<Scalar> to, Threads* threads = nullptr) {
  const Index rows = saved.x.rows(), features = saved.x.cols();
  check_shape("rms_norm", "gain", shape(saved.gain), {1, features});
  check_shape("rms_norm", "rrms", shape(saved.rrms), {rows, 1});
  check_shape("rms_norm", "d_y", shape(d_y), {rows, features});
  check_shape("rms_norm", "d_x", shape(to.d_x), {rows, features});
  check_shape("rms_norm", "d_gain", shape(to.d_gain), {1, features});
  using detail::load;
  const Scalar* gain_row = saved.gain.data();
  const auto one_row = [&](Index i, Scalar* d_gain_sum) {
    const Scalar* x_row = detail::row_begin(saved.x, i);
    const Scalar* d_y_row = detail::row_begin(d_y, i);
    Scalar* d_x_row = detail::row_begin(to.d_x, i);
    const Scalar r = saved.rrms(i, 0);
    const auto sum = detail::row_sum<Scalar>(features, [&](Index j, auto count) -> detail::RowPiece<Scalar> {
      const detail::RowPiece<Scalar> d_gain_term = load(d_y_row + j, count) * (load(x_row + j, count) * r);
      detail::store<Scalar>(d_gain_sum + j, count, load(d_gain_sum + j, count) + d_gain_term);
      return d_gain_term * load(gain_row + j, count);
    });
    const auto mean_d_z_z = static_cast<Scalar>(sum / static_cast<detail::Sum<Scalar>>(features));
    detail::for_each_piece<Scalar>(features, [&](Index j, auto count) {
      const detail::RowPiece<Scalar> z = load(x_row + j, count) * r;
      const detail::RowPiece<Scalar> d_z = load(d_y_row + j, count) * load(gain_row + j, count);
      detail::store<Scalar>(d_x_row + j, count, r * (d_z - z * mean_d_z_z));
    });
  };
  detail::sum_over_rows<Scalar, 1>(threads, rows, features, {to.d_gain.data()},
                                   [&](Index begin, Index end, const std::array<Scalar*, 1>& sums) {
                                     for (Index i = begin; i < end; ++i) one_row(i, sums[0]);
                                   });
}

/// Returns the RMS norm of each row: [rows x features]. x: [rows x features], any Eigen matrix or expression;
/// gain: [1 x features]. The default epsilon is that of the layer RmsNorm. PyTorch's is the type's machine epsilon.
/// Throws if shapes do not fit or epsilon < 0.
template <class Derived, class Gain>
Matrix<typename Derived::Scalar> rms_norm(const Eigen::MatrixBase<Derived>& x, const Eigen::MatrixBase<Gain>& gain,
                                          double epsilon = 1e-5, Threads* threads = nullptr) {
  using Scalar = typename Derived::Scalar;
  Matrix<Scalar> y(x.rows(), x.cols());
  Matrix<Scalar> rrms(x.rows(), 1);
  rms_norm_forward<Scalar>(x.derived(), gain.derived(), epsilon, y, rrms, threads);
  return y;
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
