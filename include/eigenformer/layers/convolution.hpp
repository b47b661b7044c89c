// Convolution layer with a bias.
#pragma once

#include "eigenformer/core/detail/compiled.hpp"
#include "eigenformer/layers/initialize.hpp"
#include "eigenformer/ops/convolution.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

struct ConvolutionOptions {
  Index inputs = 0;
  Index outputs = 0;
  Index kernel = 3;
  ConvolutionPadding padding = ConvolutionPadding::same;
  Index dilation = 1;
  bool bias = true;
};

/// Convolves each sequence by itself: y_i = bias + sum over taps k of W_k x_(i + k * dilation - before), with
/// before = window.before(). x: [tokens x inputs] -> [tokens x outputs].
///
/// Like torch.nn.Conv1d, but the weight is initialised by Xavier's rule and the bias by zeros. io/torch_state_dict.hpp
/// reads the weights of Conv1d.
template <class Scalar>
struct Convolution {
  Parameter<Scalar> weight;  // [outputs x kernel * inputs]
  Parameter<Scalar> bias;    // [1 x outputs], or empty
  ConvolutionWindow window;

  Convolution() = default;
  /// Throws unless inputs, outputs, kernel and dilation are at least 1.
  Convolution(const ConvolutionOptions& options, Rng& rng);

  Index inputs() const { return weight.value.cols() / window.kernel; }
  Index outputs() const { return weight.value.rows(); }

  Variable<Scalar> operator()(const Context<Scalar>& context, const Variable<Scalar>& x,
                              const RowOffsets& rows = {}) const;

  static void visit(auto& self, auto&& visitor) {
    visitor("weight", self.weight);
    visitor("bias", self.bias);
  }
};

template <class Scalar>
Convolution<Scalar>::Convolution(const ConvolutionOptions& options, Rng& rng)
    : window{.kernel = options.kernel, .dilation = options.dilation, .padding = options.padding} {
  check(options.inputs >= 1 && options.outputs >= 1 && options.kernel >= 1 && options.dilation >= 1,
        "Convolution: inputs are ", options.inputs, ", outputs ", options.outputs, ", kernel ", options.kernel,
        ", dilation ", options.dilation, ", expected 1 or more");
  weight = xavier_uniform<Scalar>(options.outputs, options.inputs, rng, options.kernel);
  if (options.bias) bias = Parameter<Scalar>(1, options.outputs);
}

template <class Scalar>
Variable<Scalar> Convolution<Scalar>::operator()(const Context<Scalar>& context, const Variable<Scalar>& x,
                                                 const RowOffsets& rows) const {
  return convolution(context, x, weight, bias, window, rows);
}

EIGENFORMER_TEMPLATE(struct Convolution);

}  // namespace eigenformer::inline EIGENFORMER_ABI
