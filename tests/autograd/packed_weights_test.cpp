#include "eigenformer/autograd/packed_weights.hpp"

#include "support/catch.hpp"

namespace ef = eigenformer;

namespace {

struct Model {
  ef::Parameter<float> weight{3, 4}, bias{1, 3}, none;
  static void visit(auto& self, auto&& visitor) {
    visitor("weight", self.weight);
    visitor("bias", self.bias);
    visitor("none", self.none);
  }
};

}  // namespace

TEST_CASE("a model's matrices are packed, and found by their parameter", "[autograd]") {
  const Model model, other;
  const ef::PackedWeights<float> packed(model);
  const ef::PackedWeight<float>* weight = packed.find(model.weight);
  REQUIRE(weight != nullptr);
  CHECK(weight->outputs() == 3);
  CHECK(weight->inputs() == 4);
  CHECK(packed.find(model.bias) == nullptr);
  CHECK(packed.find(model.none) == nullptr);
  CHECK(packed.find(other.weight) == nullptr);
}

TEST_CASE("a model's matrices are packed as the chosen type", "[autograd]") {
  const Model model;
  for (const ef::WeightType type : ef::values_of<ef::WeightType>()) {
    const ef::PackedWeights<float> packed(model, type);
    CAPTURE(to_string(type));
    CHECK(packed.type() == type);
    CHECK(packed.find(model.weight)->type() == type);
    CHECK(packed.find(model.bias) == nullptr);
    CHECK(packed.bytes() == packed.find(model.weight)->bytes().size());
    CHECK(packed.bytes() > 0);
  }
}
