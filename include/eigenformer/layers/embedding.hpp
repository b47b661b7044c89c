// Token embedding layer.
#pragma once

#include <span>
#include <type_traits>

#include "eigenformer/core/detail/compiled.hpp"
#include "eigenformer/layers/initialize.hpp"
#include "eigenformer/ops/matmul.hpp"
#include "eigenformer/ops/rows.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// Maps each token of a vocabulary to a vector. It can also serve as the output layer, with tied weights (Press and
/// Wolf 2017, arXiv 1608.05859).
template <class Scalar>
struct Embedding {
  Parameter<Scalar> weight;  // [vocabulary size x width]
  Token padding_idx = -1;    // a token whose vector gets no gradient from lookups; -1: none

  Embedding() = default;
  /// Draws normal weights with standard deviation 1 / sqrt(width), so that the initial logits of a tied output layer
  /// have a variance of about 1. torch.nn.Embedding uses a deviation of 1. The vector of padding_idx is zeros. Throws
  /// if vocabulary_size or width is negative, and unless padding_idx is -1 or a token of the vocabulary.
  Embedding(Index vocabulary_size, Index width, Rng& rng, Token padding_idx = -1);

  bool empty() const { return weight.empty(); }
  Index vocabulary_size() const { return weight.value.rows(); }
  Index width() const { return weight.value.cols(); }

  /// Looks up the vectors of `tokens`: [n] -> [n x width]. Without a tape, reads the packed weight if the context has
  /// it as bfloat16 or int8. Throws if a token is not in the vocabulary.
  Variable<Scalar> operator()(const Context<Scalar>& context, std::span<const Token> tokens) const;

  /// Returns the product of each row of x with every token's vector: the tied output layer.
  /// x: [n x width] -> [n x vocabulary size].
  Variable<Scalar> logits(const Context<Scalar>& context, const Variable<Scalar>& x) const;

  static void visit(auto& self, auto&& visitor) { visitor("weight", self.weight); }
};

template <class Scalar>
Embedding<Scalar>::Embedding(Index vocabulary_size, Index width, Rng& rng, Token padding) : padding_idx(padding) {
  check(vocabulary_size >= 0 && width >= 0, "Embedding: vocabulary_size is ", vocabulary_size, ", width is ", width,
        ", expected 0 or more");
  check(padding >= -1 && padding < vocabulary_size, "Embedding: padding_idx is ", padding,
        ", expected -1 or a token below ", vocabulary_size);
  weight = normal<Scalar>(vocabulary_size, width, 1 / std::sqrt(static_cast<double>(width)), rng);
  if (padding >= 0) weight.value.row(padding).setZero();
}

template <class Scalar>
Variable<Scalar> Embedding<Scalar>::operator()(const Context<Scalar>& context, std::span<const Token> tokens) const {
  detail::check_ids("Embedding", tokens, vocabulary_size());
  if constexpr (std::is_same_v<Scalar, float>) {
    const PackedWeight<Scalar>* const packed = context.packed_weight(weight);
    if (packed != nullptr && packed->type() != WeightType::float32) {
      Variable<Scalar> y = context.new_matrix(static_cast<Index>(tokens.size()), width());
      gather_rows_forward(*packed, tokens, y.writable(), context.threads);
      return y;
    }
  }
  return gather_rows(context, context.use(weight), tokens, padding_idx);
}

template <class Scalar>
Variable<Scalar> Embedding<Scalar>::logits(const Context<Scalar>& context, const Variable<Scalar>& x) const {
  return linear(context, x, weight, Parameter<Scalar>());
}

EIGENFORMER_TEMPLATE(struct Embedding);

}  // namespace eigenformer::inline EIGENFORMER_ABI
