// Block of a convolutional encoder or decoder: convolution, gate and residual connection.
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
  bool gated = true;     // false: ReLU instead of the gated linear unit
  bool residual = true;
};

/// Computes (x + glu(convolution(dropout(x)))) * sqrt(0.5), or glu(convolution(dropout(x))) without the residual
/// connection. The factor makes the variance of the sum equal to the variance of its terms. Gehring et al. 2017,
/// "Convolutional Sequence to Sequence Learning" (arXiv 1705.03122), sections 3.2 to 3.4.
template <class Scalar>
struct ConvolutionLayer {
  Convolution<Scalar> convolution;  // width -> 2 * width, or width without a gate
  Dropout<Scalar> dropout;
  bool gated = true;
  bool residual = true;

  ConvolutionLayer() = default;
  /// Draws normal weights, with n = kernel * width inputs per output and p = 1 - dropout:
  ///
  ///   gated   variance 4 p / n, which roughly preserves the variance through the gate (section 3.5)
  ///   ReLU    variance 2 p / n (He et al. 2015, arXiv 1502.01852)
  ///
  /// Throws unless dropout is at least 0 and less than 1, or if the constructor of Convolution throws.
  ConvolutionLayer(const ConvolutionLayerOptions& options, Rng& rng);

  /// Processes each sequence by itself. x: [tokens x width] -> [tokens x width].
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
