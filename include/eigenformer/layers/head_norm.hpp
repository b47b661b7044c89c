// Norms of each head's queries and keys, which bound the scores of attention.
#pragma once

#include <array>

#include "eigenformer/core/detail/compiled.hpp"
#include "eigenformer/core/named_enum.hpp"
#include "eigenformer/layers/norms.hpp"
#include "eigenformer/ops/arithmetic.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// How each head's queries and keys are normalised, after their projection and before rotary position embeddings.
enum class QueryKeyNorm {
  none,
  rms_norm,   // Qwen3 (arXiv 2505.09388) and Gemma 3 (arXiv 2503.19786). Gemma's files store the gains minus 1
  layer_norm  // ViT-22B (Dehghani et al. 2023, arXiv 2302.05442)
};

constexpr auto enum_names(QueryKeyNorm) {
  return std::to_array<EnumName<QueryKeyNorm>>(
      {{QueryKeyNorm::none, "none"}, {QueryKeyNorm::rms_norm, "rms_norm"}, {QueryKeyNorm::layer_norm, "layer_norm"}});
}

/// Normalises the features of each head. All heads share one gain and one bias.
template <class Scalar>
struct HeadNorm {
  QueryKeyNorm kind = QueryKeyNorm::none;
  Parameter<Scalar> weight;  // [1 x head_width]; empty: no norm
  Parameter<Scalar> bias;    // of layer_norm: [1 x head_width], or empty
  double epsilon = 1e-5;     // added to the mean square or the variance

  HeadNorm() = default;
  /// Makes a norm of gain 1 and bias 0. with_bias: whether layer_norm has a bias. Throws if head_width is negative.
  HeadNorm(QueryKeyNorm norm, Index head_width, double norm_eps = 1e-5, bool with_bias = true);

  /// Normalises the head_width features of each head of each token; without a norm returns x.
  /// x: [tokens x heads * head_width] -> [tokens x heads * head_width]. Throws if the heads have another width.
  Variable<Scalar> operator()(const Context<Scalar>& context, const Variable<Scalar>& x, Index heads) const;

  static void visit(auto& self, auto&& visitor) {
    visitor("weight", self.weight);
    visitor("bias", self.bias);
  }
};

template <class Scalar>
HeadNorm<Scalar>::HeadNorm(QueryKeyNorm norm, Index head_width, double norm_eps, bool with_bias)
    : kind(norm), epsilon(norm_eps) {
  if (kind == QueryKeyNorm::none) return;
  check(head_width >= 0, "HeadNorm: head_width is ", head_width, ", expected 0 or more");
  weight = Parameter<Scalar>(1, head_width);
  weight.value.setOnes();
  if (kind == QueryKeyNorm::layer_norm && with_bias) bias = Parameter<Scalar>(1, head_width);
}

template <class Scalar>
Variable<Scalar> HeadNorm<Scalar>::operator()(const Context<Scalar>& context, const Variable<Scalar>& x,
                                              Index heads) const {
  if (kind == QueryKeyNorm::none) return x;
  check(x.cols() == heads * weight.value.cols(), "HeadNorm: x is ", shape(x), ", expected ", heads, " heads of ",
        weight.value.cols(), " columns");
  const Variable<Scalar> each_head = reshape(context, x, x.rows() * heads, weight.value.cols());
  const auto normalise = [&] {
    if (kind == QueryKeyNorm::rms_norm) return rms_norm(context, each_head, context.use(weight), epsilon);
    if (!bias.empty()) return layer_norm(context, each_head, context.use(weight), context.use(bias), epsilon);
    Variable<Scalar> zeros = context.new_matrix(1, weight.value.cols());
    zeros.writable().setZero();
    return layer_norm(context, each_head, context.use(weight), zeros, epsilon);
  };
  return reshape(context, normalise(), x.rows(), x.cols());
}

EIGENFORMER_TEMPLATE(struct HeadNorm);

}  // namespace eigenformer::inline EIGENFORMER_ABI
