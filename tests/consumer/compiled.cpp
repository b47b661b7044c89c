// A program that links the compiled library: its object file has no code of layers.
#include <eigenformer/models/transformer.hpp>

#ifndef EIGENFORMER_COMPILED_FLOAT
#error "eigenformer::compiled_float defines EIGENFORMER_COMPILED_FLOAT"
#endif

namespace ef = eigenformer;

int main() {
  ef::Rng rng(1);
  const ef::TransformerOptions options{.source_vocabulary_size = 5,
                                       .target_vocabulary_size = 5,
                                       .num_encoder_layers = 1,
                                       .num_decoder_layers = 1,
                                       .layer = {.width = 8, .heads = 2, .dim_feedforward = 16}};
  const ef::Transformer<float> model(options, rng);
  const ef::Tokens source{.ids = {3, 4, 2}, .rows = {0, 3}};
  const ef::Variable<float> memory = model.encode({}, source);
  return memory.value().rows() == 3 && memory.value().allFinite() ? 0 : 1;
}
