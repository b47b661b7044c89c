#include "eigenformer/io/tensor_shapes.hpp"

#include <map>

#include "eigenformer/layers/decoder_layer.hpp"
#include "support/catch.hpp"

namespace ef = eigenformer;

namespace {

using Shapes = std::map<std::string, std::pair<ef::Index, ef::Index>>;

template <class Layer>
Shapes shapes_of(Layer& layer) {
  Shapes shapes;
  ef::for_each_parameter(layer, [&](const std::string& name, const ef::Parameter<float>& parameter) {
    shapes["x." + name] = {parameter.value.rows(), parameter.value.cols()};
  });
  return shapes;
}

template <class Visit>
Shapes visited(Visit visit) {
  Shapes shapes;
  visit([&](const std::string& name, const ef::Shape& shape) { shapes[name] = {shape.rows, shape.cols}; });
  return shapes;
}

}  // namespace

TEST_CASE("a decoder layer's tensors are known from its options", "[io]") {
  ef::Rng rng(1);
  for (const bool bias : {true, false})
    for (const ef::Index key_heads : {0, 1, 2})
      for (const ef::Index relative_distance : {0, 3})
        for (const ef::QueryKeyNorm qk_norm : ef::values_of<ef::QueryKeyNorm>()) {
          const ef::TransformerLayerOptions options{.width = 12,
                                                    .heads = 4,
                                                    .key_heads = key_heads,
                                                    .dim_feedforward = 5,
                                                    .bias = bias,
                                                    .norm_bias = bias,
                                                    .relative_distance = relative_distance,
                                                    .qk_norm = qk_norm,
                                                    .sinks = bias};
          CAPTURE(bias, key_heads, relative_distance, ef::to_string(qk_norm));
          ef::DecoderLayer<float> layer(options, rng);
          CHECK(visited([&](auto visitor) { ef::detail::visit_decoder_layer(visitor, "x", options); }) ==
                shapes_of(layer));
        }
}

TEST_CASE("a recurrent layer's tensors are known from its options", "[io]") {
  ef::Rng rng(1);
  for (const auto cell : {ef::RecurrentCell::rnn, ef::RecurrentCell::gru, ef::RecurrentCell::lstm})
    for (const bool bidirectional : {false, true})
      for (const bool bias : {true, false}) {
        ef::RecurrentOptions options;
        options.cell = cell;
        options.inputs = 3;
        options.hidden = 5;
        options.num_layers = 2;
        options.bidirectional = bidirectional;
        options.bias = bias;
        CAPTURE(bidirectional, bias);
        ef::Recurrent<float> layer(options, rng);
        CHECK(visited([&](auto visitor) { ef::detail::visit_recurrent(visitor, "x", options); }) == shapes_of(layer));
      }
}
