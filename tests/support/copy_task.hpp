// A small model and batches for tests that need a whole Transformer.
#pragma once

#include <numeric>
#include <vector>

#include "eigenformer/models/transformer.hpp"
#include "eigenformer/ops/cross_entropy.hpp"

namespace eigenformer::testing {

inline TransformerOptions small_transformer() {
  return {.source_vocabulary_size = 11,
          .target_vocabulary_size = 11,
          .num_encoder_layers = 2,
          .num_decoder_layers = 2,
          .layer = {.width = 16, .heads = 2, .dim_feedforward = 32}};
}

/// Draws sequences of the given lengths over the tokens 3 to 10. The target of each is the sequence itself.
inline TranslationBatch copy_batch(const std::vector<Index>& lengths, Rng& rng) {
  std::vector<std::vector<Token>> sentences;
  for (const Index length : lengths) {
    sentences.emplace_back(static_cast<std::size_t>(length));
    for (Token& token : sentences.back()) token = static_cast<Token>(3 + rng.randint(8));
  }
  std::vector<Index> all(sentences.size());
  std::iota(all.begin(), all.end(), Index{0});
  return translation_batch(sentences, sentences, all);
}

/// Returns the cross entropy of the logits of a model [1 x 1].
template <class Model, class Scalar>
Variable<Scalar> loss_of(const Model& model, const Context<Scalar>& context, const TranslationBatch& batch,
                         const CrossEntropyOptions& options = {}) {
  return cross_entropy(context, model(context, batch.source, batch.target), batch.next, options);
}

}  // namespace eigenformer::testing
