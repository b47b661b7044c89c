// Outputs and gradients of linear layers, norms and embeddings, and of the blocks and stacks of Transformers, against
// PyTorch's: see make_torch_reference.py, which made the values.
#include <string>

#include "eigenformer/layers/embedding.hpp"
#include "eigenformer/layers/encoder_decoder.hpp"
#include "parity/torch_case.hpp"

namespace ef = eigenformer;
using ef::testing::TorchCase;

namespace {

/// Options of a case by its name.
ef::TransformerLayerOptions options_of(const std::string& name, ef::TransformerLayerOptions options) {
  const auto has = [&](const char* part) { return name.find(part) != std::string::npos; };
  options.dropout = 0;
  options.activation = has("gelu") ? ef::Activation::gelu : ef::Activation::relu;
  options.norm_first = has("pre");
  options.bias = options.norm_bias = !has("no_bias");
  return options;
}

ef::TransformerLayerOptions block_options(const std::string& name) {
  ef::TransformerLayerOptions options = options_of(name, {.width = 12, .heads = 3, .dim_feedforward = 20});
  if (!options.bias) options.layer_norm_eps = 1e-3;
  return options;
}

ef::TransformerLayerOptions stack_options(const std::string& name) {
  return options_of(name, {.width = 6, .heads = 2, .dim_feedforward = 7, .layer_norm_eps = 1e-3});
}

template <class Scalar, class Layer>
void check_decoder(const std::string& name, Layer layer) {
  TorchCase<Scalar> test(name);
  test.load(layer);
  const ef::Variable<Scalar> x = test.input("x"), memory = test.input("memory");
  test.compare(layer({.tape = &test.tape}, x, test.rows("rows"), memory, test.rows("key_rows")), layer);
}

template <class Scalar, class Layer>
void check_encoder(const std::string& name, Layer layer, const ef::AnyScore<Scalar>& score = {}) {
  TorchCase<Scalar> test(name);
  test.load(layer);
  test.compare(layer({.tape = &test.tape}, test.input("x"), test.rows("rows"), score), layer);
}

template <class Scalar>
void check_transformer(const std::string& name, ef::Index encoder_layers, ef::Index decoder_layers) {
  TorchCase<Scalar> test(name);
  ef::Rng rng(1);
  ef::TransformerLayerOptions options = stack_options(name);
  options.final_norm = ef::FinalNorm::always;
  ef::EncoderDecoder<Scalar> model(options, encoder_layers, decoder_layers, rng);
  test.load(model);
  const ef::Variable<Scalar> source = test.input("source"), target = test.input("target");
  test.compare(model({.tape = &test.tape}, source, test.rows("key_rows"), target, test.rows("rows")), model);
}

template <class Scalar, class Layer>
void check_rows(const std::string& name, Layer layer) {
  TorchCase<Scalar> test(name);
  test.load(layer);
  test.compare(layer({.tape = &test.tape}, test.input("x")), layer);
}

template <class Scalar>
void check_embedding(const std::string& name, ef::Token padding_idx) {
  TorchCase<Scalar> test(name);
  ef::Rng rng(1);
  ef::Embedding<Scalar> layer(7, 4, rng, padding_idx);
  test.load(layer);
  const auto tokens = ef::testing::torch_reference().values<ef::Token>(name + "/tokens");
  test.compare(layer({.tape = &test.tape}, tokens), layer);
}

}  // namespace

TEMPLATE_TEST_CASE("encoder and decoder blocks agree with PyTorch", "[parity]", float, double) {
  ef::Rng rng(1);
  for (const std::string name :
       {"encoder_post_relu", "encoder_post_gelu", "encoder_pre_relu", "encoder_pre_gelu", "encoder_post_relu_no_bias"})
    check_encoder<TestType>(name, ef::EncoderLayer<TestType>(block_options(name), rng));
  for (const std::string name :
       {"decoder_post_relu", "decoder_post_gelu", "decoder_pre_relu", "decoder_pre_gelu", "decoder_pre_gelu_no_bias"})
    check_decoder<TestType>(name, ef::DecoderLayer<TestType>(block_options(name), rng));
}

TEMPLATE_TEST_CASE("stacks and whole Transformers agree with PyTorch", "[parity]", float, double) {
  ef::Rng rng(1);
  const std::string post = "encoder_stack_post_relu", pre = "encoder_stack_pre_gelu",
                    decoder = "decoder_stack_post_relu";
  check_encoder<TestType>(post, ef::Encoder<TestType>(stack_options(post), 2, rng));
  check_encoder<TestType>(pre, ef::Encoder<TestType>(stack_options(pre), 2, rng), ef::Causal{});
  check_decoder<TestType>(decoder, ef::Decoder<TestType>(stack_options(decoder), 2, rng));
  check_transformer<TestType>("transformer_post_relu", 2, 1);
  check_transformer<TestType>("transformer_pre_gelu_no_bias", 1, 2);
}

TEMPLATE_TEST_CASE("linear layers, norms and embeddings agree with PyTorch", "[parity]", float, double) {
  ef::Rng rng(1);
  check_rows<TestType>("linear", ef::Linear<TestType>(4, 5, rng));
  check_rows<TestType>("linear_no_bias", ef::Linear<TestType>(4, 5, rng, false));
  check_rows<TestType>("layer_norm", ef::LayerNorm<TestType>(12, 1e-3));
  check_rows<TestType>("layer_norm_no_bias", ef::LayerNorm<TestType>(12, 1e-3, false));
  check_embedding<TestType>("embedding", -1);
  check_embedding<TestType>("embedding_padding", 2);
}
