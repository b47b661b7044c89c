#include "eigenformer/autograd/attention_observer.hpp"

#include "eigenformer/autograd/context.hpp"
#include "support/catch.hpp"

namespace ef = eigenformer;

namespace {

/// Remembers who called, and how often.
class HeadCounter : public ef::AttentionObserver<float> {
 public:
  void record(const void* layer, ef::Tensor<float> weights) override {
    last = layer;
    heads += weights.dimension(0);
  }
  const void* last = nullptr;
  ef::Index heads = 0;
};

}  // namespace

TEST_CASE("a context carries any observer of attention", "[autograd]") {
  HeadCounter counter;
  const ef::Context<float> context{.attention = &counter};
  const int layer = 0;
  context.attention->record(&layer, ef::Tensor<float>({2, 3, 4}));
  context.attention->record(&layer, ef::Tensor<float>({1, 3, 4}));
  CHECK(counter.last == &layer);
  CHECK(counter.heads == 3);
}
