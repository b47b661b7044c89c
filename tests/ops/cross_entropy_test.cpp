#include "eigenformer/ops/cross_entropy.hpp"

#include "support/ops.hpp"

namespace ef = eigenformer;

TEST_CASE("gradients of cross entropy", "[ops]") {
  const std::uint64_t seed = 18;
  CAPTURE(seed);
  ef::Rng rng(seed);
  const auto logits = ef::testing::random_matrix<double>(5, 7, rng);
  const std::vector<ef::Token> labels{3, 0, -100, 6, 3};
  const double smoothing = GENERATE(0.0, 0.1);
  const auto reduction = GENERATE(ef::Reduction::mean, ef::Reduction::sum);
  ef::testing::check_op({logits}, [&](const ef::Context<double>& c, const std::vector<ef::Variable<double>>& in) {
    return ef::cross_entropy(c, in[0], labels, {.label_smoothing = smoothing, .reduction = reduction});
  });
}
