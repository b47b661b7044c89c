#include "eigenformer/layers/transformer_layer_options.hpp"

#include "support/catch.hpp"

namespace ef = eigenformer;

TEST_CASE("defaults are the paper's, and the attention's options follow", "[layers]") {
  const ef::TransformerLayerOptions options{.heads = 4, .head_width = 64, .dropout = 0.2, .bias = false};
  CHECK(options.width == 512);
  CHECK(options.dim_feedforward == 2048);
  CHECK(options.attention().width == 512);
  CHECK(options.attention().heads == 4);
  CHECK(options.attention().head_width == 64);
  CHECK(options.attention().dropout == 0.2);
  CHECK(!options.attention().bias);
}
