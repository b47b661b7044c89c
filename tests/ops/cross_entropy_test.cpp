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

TEST_CASE("gradients of an output layer and its cross entropy in one", "[ops]") {
  const std::uint64_t seed = 19;
  CAPTURE(seed);
  ef::Rng rng(seed);
  const auto x = ef::testing::random_matrix<double>(5, 4, rng), weight = ef::testing::random_matrix<double>(7, 4, rng);
  const auto bias = ef::testing::random_matrix<double>(1, 7, rng);
  const std::vector<ef::Token> labels{3, 0, -100, 6, 3};
  const ef::CrossEntropyOptions options{.label_smoothing = 0.1};
  ef::testing::check_op({x, weight, bias},
                        [&](const ef::Context<double>& c, const std::vector<ef::Variable<double>>& in) {
                          return ef::linear_cross_entropy(c, in[0], in[1], in[2], labels, options);
                        });
  ef::testing::check_op({x, weight}, [&](const ef::Context<double>& c, const std::vector<ef::Variable<double>>& in) {
    return ef::linear_cross_entropy(c, in[0], in[1], ef::Variable<double>(), labels, options);
  });
  ef::testing::check_op({x}, [&](const ef::Context<double>& c, const std::vector<ef::Variable<double>>& in) {
    return ef::linear_cross_entropy(c, in[0], ef::Variable<double>(weight), ef::Variable<double>(bias), labels,
                                    options);
  });
}
