// A block of a convolutional encoder or decoder: a convolution, a gate and a residual connection.
#pragma once

#include <cmath>

#include "eigenformer/core/detail/compiled.hpp"
#include "eigenformer/layers/convolution.hpp"
#include "eigenformer/layers/dropout.hpp"
#include "eigenformer/ops/activations.hpp"
#include "eigenformer/ops/arithmetic.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

struct ConvolutionLayerOptions {
  Index width = 512;
  Index kernel = 3;
  ConvolutionPadding padding = ConvolutionPadding::same;
  Index dilation = 1;
  double dropout = 0.1;  // of the convolution's input
  bool gated = true;     // false: ReLU in place of the gated linear unit
  bool residual = true;
};

/// (x + glu(convolution(dropout(x)))) * sqrt(0.5): Gehring et al. 2017, "Convolutional Sequence to Sequence Learning"
/// (arXiv 1705.03122), sections 3.2 to 3.4. The factor keeps the variance of the sum that of its parts. Without the
/// residual connection it is glu(convolution(dropout(x))).
template <class Scalar>
struct ConvolutionLayer {
  Convolution<Scalar> convolution;  // width -> 2 * width, or width without a gate
  Dropout<Scalar> dropout;
  bool gated = true;
  bool residual = true;

  ConvolutionLayer() = default;
  /// Weights begin normal with variance 4 p / n, where n is the number of a sum's terms and p = 1 - dropout, so that
  /// the gate's result has about its input's variance (section 3.5); without a gate 2 p / n, as ReLU needs (He et al.
  /// 2015, arXiv 1502.01852).
  ConvolutionLayer(const ConvolutionLayerOptions& options, Rng& rng);

  /// x: [tokens x width] -> [tokens x width], each sequence by itself.
  Variable<Scalar> operator()(const Context<Scalar>& context, const Variable<Scalar>& x,
                              const RowOffsets& rows = {}) const;

  static void visit(auto& self, auto&& visitor) { visitor("convolution", self.convolution); }
};

template <class Scalar>
ConvolutionLayer<Scalar>::ConvolutionLayer(const ConvolutionLayerOptions& options, Rng& rng)
    : convolution({.inputs = options.width,
                   .outputs = options.gated ? 2 * options.width : options.width,
                   .kernel = options.kernel,
                   .padding = options.padding,
                   .dilation = options.dilation},
                  rng),
      dropout{options.dropout},
      gated(options.gated),
      residual(options.residual) {
  check(options.dropout >= 0 && options.dropout < 1, "ConvolutionLayer: dropout is ", options.dropout,
        ", expected 0 or more and less than 1");
  Parameter<Scalar>& weight = convolution.weight;
  const double variance = (gated ? 4 : 2) * (1 - options.dropout) / static_cast<double>(weight.value.cols());
  weight = normal<Scalar>(weight.value.rows(), weight.value.cols(), std::sqrt(variance), rng);
}

template <class Scalar>
Variable<Scalar> ConvolutionLayer<Scalar>::operator()(const Context<Scalar>& context, const Variable<Scalar>& x,
                                                      const RowOffsets& rows) const {
  const Variable<Scalar> convolved = convolution(context, dropout(context, x), rows);
  const Variable<Scalar> y = gated ? glu(context, convolved) : activate(context, Activation::relu, convolved);
  return residual ? scale(context, add(context, x, y), std::sqrt(Scalar(0.5))) : y;
}

EIGENFORMER_TEMPLATE(struct ConvolutionLayer);

}  // namespace eigenformer::inline EIGENFORMER_ABI
