// Softmax, layer norm (Ba et al. 2016, arXiv 1607.06450) and RMS norm (Zhang and Sennrich 2019, arXiv 1910.07467) of
// tensors, over any dimensions, with their derivatives. They run the kernels of kernels/softmax.hpp, layer_norm.hpp and
// rms_norm.hpp.
//
//   Tensor<float> weights = softmax(scores);                              // over the last dimension
//   Tensor<float> y = layer_norm(x, gain, bias);                          // gain, bias: [width]
//   Tensor<float> z = layer_norm(x, gain, bias, {.dimensions = {1, 2}});  // gain, bias: the sizes of both
//
// Functions take tensors, views and expressions. Over the last dimensions of contiguous memory nothing is copied;
// elsewhere entries are copied into rows and back. 16-bit entries are computed as float. Results do not depend on the
// number of threads.
#pragma once

#include "eigenformer/kernels/layer_norm.hpp"
#include "eigenformer/kernels/rms_norm.hpp"
#include "eigenformer/kernels/softmax.hpp"
#include "eigenformer/tensors/detail/row_views.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// Returns the softmax along a dimension: exp(x) / sum(exp(x)). Entries that are all -inf give zeros.
template <TensorLike X>
Tensor<ScalarOf<X>> softmax(X&& x, Index dimension = -1, Threads* threads = nullptr) {
  using Compute = ComputeType<ScalarOf<X>>;
  const detail::RowShape shape("softmax", detail::shape_of(x), dimension);
  return detail::map_rows(std::forward<X>(x), shape,
                          [&](const auto& from, const auto& to) { softmax_forward<Compute>(from, to, threads); });
}

/// Returns the gradient of softmax, d_x = y (d_y - sum(d_y y)). y: what softmax returned. Throws if shapes differ.
template <TensorLike Y, TensorLike D>
Tensor<ScalarOf<D>> softmax_backward(const Y& y, D&& d_y, Index dimension = -1, Threads* threads = nullptr) {
  using Compute = ComputeType<ScalarOf<D>>;
  static_assert(std::is_same_v<ScalarOf<Y>, ScalarOf<D>>, "tensors of different types: write cast<T>() of one of them");
  const detail::RowShape shape("softmax_backward", detail::shape_of(y), dimension);
  detail::check_same_shape("softmax_backward", "d_y", detail::shape_of(d_y), detail::shape_of(y));
  const detail::RowOperand<const Y&> saved(y, shape);
  return detail::map_rows(std::forward<D>(d_y), shape, [&](const auto& from, const auto& to) {
    softmax_backward<Compute>(saved.matrix(), from, to, threads);
  });
}

/// Returns the logarithm of the softmax along a dimension: x - log(sum(exp(x))). Entries that are all -inf give -inf.
template <TensorLike X>
Tensor<ScalarOf<X>> log_softmax(X&& x, Index dimension = -1, Threads* threads = nullptr) {
  using Compute = ComputeType<ScalarOf<X>>;
  const detail::RowShape shape("log_softmax", detail::shape_of(x), dimension);
  return detail::map_rows(std::forward<X>(x), shape,
                          [&](const auto& from, const auto& to) { log_softmax_forward<Compute>(from, to, threads); });
}

/// Returns the gradient of log_softmax, d_x = d_y - exp(y) sum(d_y), and 0 where y is -inf along the whole dimension.
/// y: what log_softmax returned. Throws if shapes differ.
template <TensorLike Y, TensorLike D>
Tensor<ScalarOf<D>> log_softmax_backward(const Y& y, D&& d_y, Index dimension = -1, Threads* threads = nullptr) {
  using Compute = ComputeType<ScalarOf<D>>;
  static_assert(std::is_same_v<ScalarOf<Y>, ScalarOf<D>>, "tensors of different types: write cast<T>() of one of them");
  const detail::RowShape shape("log_softmax_backward", detail::shape_of(y), dimension);
  detail::check_same_shape("log_softmax_backward", "d_y", detail::shape_of(d_y), detail::shape_of(y));
  const detail::RowOperand<const Y&> saved(y, shape);
  return detail::map_rows(std::forward<D>(d_y), shape, [&](const auto& from, const auto& to) {
    log_softmax_backward<Compute>(saved.matrix(), from, to, threads);
  });
}

/// Options of layer_norm of tensors.
struct LayerNormOptions {
  Dimensions dimensions = -1;  // over which mean and variance are taken
  double epsilon = 1e-5;       // added to the variance
};

/// The moments of layer norm, for its backward: the shape of x, with one entry in each of options.dimensions.
template <class Scalar>
struct LayerNormMoments {
  Tensor<Scalar> mean;
  Tensor<Scalar> rstd;  // 1 / sqrt(variance + epsilon)
};

/// What layer_norm_forward returns.
template <class Scalar>
struct LayerNormResult {
  Tensor<Scalar> y;
  LayerNormMoments<ComputeType<Scalar>> moments;
};

/// What layer_norm_backward returns.
template <class Scalar>
struct LayerNormTensorGradients {
  Tensor<Scalar> d_x;     // the shape of x
  Tensor<Scalar> d_gain;  // the shape of gain
  Tensor<Scalar> d_bias;  // the shape of gain
};

namespace detail {

/// A norm's parameter, with one entry for each column: gain or bias.
template <TensorLike X>
class NormParameter {
 public:
  using Compute = ComputeType<ScalarOf<X>>;

  NormParameter(const char* where, const char* name, const X& x, const RowShape& shape) : operand_(x, row(x)) {
    check_same_shape(where, name, shape_of(x), shape.column_sizes);
  }
  RowsMap<Compute> matrix() const { return operand_.matrix(); }

 private:
  static RowShape row(const X& x) { return RowShape("norm", shape_of(x), all_dimensions(shape_of(x))); }
  RowOperand<const X&> operand_;
};

/// Stops compilation unless all entries have the same type.
template <class X, class... Others>
constexpr void check_one_type() {
  static_assert((std::is_same_v<ScalarOf<X>, ScalarOf<Others>> && ...),
                "tensors of different types: write cast<T>() of some of them");
}

template <class Scalar>
MatrixMap<Scalar> column_of(Tensor<Scalar>& x) {
  return MatrixMap<Scalar>(x.data(), x.size(), 1);
}
template <class Scalar>
ConstMatrixMap<Scalar> column_of(const Tensor<Scalar>& x) {
  return ConstMatrixMap<Scalar>(x.data(), x.size(), 1);
}
template <class Scalar>
MatrixMap<Scalar> row_of(Tensor<Scalar>& x) {
  return MatrixMap<Scalar>(x.data(), 1, x.size());
}

}  // namespace detail

/// Returns the layer norm over options.dimensions, (x - mean) rstd * gain + bias, and its moments for the backward.
/// gain, bias: the sizes of these dimensions, in the order of x. Throws if shapes do not fit or epsilon < 0.
template <TensorLike X, TensorLike Gain, TensorLike Bias>
LayerNormResult<ScalarOf<X>> layer_norm_forward(X&& x, const Gain& gain, const Bias& bias,
                                                const LayerNormOptions& options = {}, Threads* threads = nullptr) {
  using Scalar = ScalarOf<X>;
  using Compute = ComputeType<Scalar>;
  detail::check_one_type<X, Gain, Bias>();
  const detail::RowShape shape("layer_norm", detail::shape_of(x), options.dimensions);
  const detail::NormParameter<Gain> gain_row("layer_norm", "gain", gain, shape);
  const detail::NormParameter<Bias> bias_row("layer_norm", "bias", bias, shape);
  LayerNormMoments<Compute> moments{Tensor<Compute>::uninitialized(shape.kept),
                                    Tensor<Compute>::uninitialized(shape.kept)};
  Tensor<Scalar> y = detail::map_rows(std::forward<X>(x), shape, [&](const auto& from, const auto& to) {
    layer_norm_forward<Compute>({from, gain_row.matrix(), bias_row.matrix()}, options.epsilon,
                                {to, detail::column_of(moments.mean), detail::column_of(moments.rstd)}, threads);
  });
  return {std::move(y), std::move(moments)};
}

/// Returns the layer norm over options.dimensions: see layer_norm_forward. torch.nn.functional.layer_norm takes only
/// the last dimensions.
template <TensorLike X, TensorLike Gain, TensorLike Bias>
Tensor<ScalarOf<X>> layer_norm(X&& x, const Gain& gain, const Bias& bias, const LayerNormOptions& options = {},
                               Threads* threads = nullptr) {
  return layer_norm_forward(std::forward<X>(x), gain, bias, options, threads).y;
}

/// Returns the gradients of layer_norm_forward. x, gain: its arguments; moments: from its result; d_y: the shape of x.
/// Throws if shapes do not fit.
template <TensorLike X, TensorLike Gain, TensorLike D>
LayerNormTensorGradients<ScalarOf<X>> layer_norm_backward(const X& x, const Gain& gain,
                                                          const LayerNormMoments<ComputeType<ScalarOf<X>>>& moments,
                                                          D&& d_y, const LayerNormOptions& options = {},
                                                          Threads* threads = nullptr) {
  using Scalar = ScalarOf<X>;
  using Compute = ComputeType<Scalar>;
  constexpr const char* where = "layer_norm_backward";
  detail::check_one_type<X, Gain, D>();
  const detail::RowShape shape(where, detail::shape_of(x), options.dimensions);
  detail::check_same_shape(where, "mean", moments.mean.shape(), shape.kept);
  detail::check_same_shape(where, "rstd", moments.rstd.shape(), shape.kept);
  detail::check_same_shape(where, "d_y", detail::shape_of(d_y), detail::shape_of(x));
  const detail::RowOperand<const X&> x_rows(x, shape);
  const detail::NormParameter<Gain> gain_row(where, "gain", gain, shape);
  Tensor<Compute> d_gain = Tensor<Compute>::uninitialized(shape.column_sizes), d_bias = d_gain;
  Tensor<Scalar> d_x = detail::map_rows(std::forward<D>(d_y), shape, [&](const auto& from, const auto& to) {
    layer_norm_backward<Compute>(
        {x_rows.matrix(), gain_row.matrix(), detail::column_of(moments.mean), detail::column_of(moments.rstd)}, from,
        {to, detail::row_of(d_gain), detail::row_of(d_bias)}, threads);
  });
  return {std::move(d_x), d_gain.template cast<Scalar>(), d_bias.template cast<Scalar>()};
}

/// Options of rms_norm of tensors.
struct RmsNormOptions {
  Dimensions dimensions = -1;  // over which the mean square is taken
  double epsilon = 1e-5;       // added to the mean square; PyTorch takes the type's machine epsilon
};

/// What rms_norm_forward returns.
template <class Scalar>
struct RmsNormResult {
  Tensor<Scalar> y;
  Tensor<ComputeType<Scalar>> rrms;  // 1 / sqrt(mean(x^2) + epsilon): x's shape, with size 1 in options.dimensions
};

/// What rms_norm_backward returns.
template <class Scalar>
struct RmsNormTensorGradients {
  Tensor<Scalar> d_x;     // the shape of x
  Tensor<Scalar> d_gain;  // the shape of gain
};

/// Returns the RMS norm over options.dimensions, x rrms * gain, and rrms for the backward. gain: the sizes of these
/// dimensions, in the order of x. Throws if shapes do not fit or epsilon < 0.
template <TensorLike X, TensorLike Gain>
RmsNormResult<ScalarOf<X>> rms_norm_forward(X&& x, const Gain& gain, const RmsNormOptions& options = {},
                                            Threads* threads = nullptr) {
  using Scalar = ScalarOf<X>;
  using Compute = ComputeType<Scalar>;
  detail::check_one_type<X, Gain>();
  const detail::RowShape shape("rms_norm", detail::shape_of(x), options.dimensions);
  const detail::NormParameter<Gain> gain_row("rms_norm", "gain", gain, shape);
  Tensor<Compute> rrms = Tensor<Compute>::uninitialized(shape.kept);
  Tensor<Scalar> y = detail::map_rows(std::forward<X>(x), shape, [&](const auto& from, const auto& to) {
    rms_norm_forward<Compute>(from, gain_row.matrix(), options.epsilon, to, detail::column_of(rrms), threads);
  });
  return {std::move(y), std::move(rrms)};
}

/// Returns the RMS norm over options.dimensions: see rms_norm_forward.
template <TensorLike X, TensorLike Gain>
Tensor<ScalarOf<X>> rms_norm(X&& x, const Gain& gain, const RmsNormOptions& options = {}, Threads* threads = nullptr) {
  return rms_norm_forward(std::forward<X>(x), gain, options, threads).y;
}

/// Returns the gradients of rms_norm_forward. x, gain: its arguments; rrms: from its result; d_y: the shape of x.
/// Throws if shapes do not fit.
template <TensorLike X, TensorLike Gain, TensorLike D>
RmsNormTensorGradients<ScalarOf<X>> rms_norm_backward(const X& x, const Gain& gain,
                                                      const Tensor<ComputeType<ScalarOf<X>>>& rrms, D&& d_y,
                                                      const RmsNormOptions& options = {}, Threads* threads = nullptr) {
  using Scalar = ScalarOf<X>;
  using Compute = ComputeType<Scalar>;
  constexpr const char* where = "rms_norm_backward";
  detail::check_one_type<X, Gain, D>();
  const detail::RowShape shape(where, detail::shape_of(x), options.dimensions);
  detail::check_same_shape(where, "rrms", rrms.shape(), shape.kept);
  detail::check_same_shape(where, "d_y", detail::shape_of(d_y), detail::shape_of(x));
  const detail::RowOperand<const X&> x_rows(x, shape);
  const detail::NormParameter<Gain> gain_row(where, "gain", gain, shape);
  Tensor<Compute> d_gain = Tensor<Compute>::uninitialized(shape.column_sizes);
  Tensor<Scalar> d_x = detail::map_rows(std::forward<D>(d_y), shape, [&](const auto& from, const auto& to) {
    rms_norm_backward<Compute>({x_rows.matrix(), gain_row.matrix(), detail::column_of(rrms)}, from,
                               {to, detail::row_of(d_gain)}, threads);
  });
  return {std::move(d_x), d_gain.template cast<Scalar>()};
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
