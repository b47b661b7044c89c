#include "eigenformer/layers/attention_recorder.hpp"

#include "support/catch.hpp"

namespace ef = eigenformer;

TEST_CASE("the recorder keeps each layer's last weights", "[layers]") {
  const int layer = 0, other = 0;
  ef::AttentionRecorder<float> recorder;
  recorder.record(&layer, ef::Tensor<float>({1, 2, 3}));
  recorder.record(&layer, ef::Tensor<float>({2, 2, 2}));
  CHECK(recorder.weights(layer).dimension(0) == 2);
  CHECK_THROWS_AS(recorder.weights(other), ef::Error);
}
