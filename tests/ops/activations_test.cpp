#include "eigenformer/ops/activations.hpp"

#include "support/ops.hpp"

namespace ef = eigenformer;
using Context = ef::Context<double>;
using Inputs = std::vector<ef::Variable<double>>;

TEST_CASE("gradients of the activations", "[ops]") {
  const std::uint64_t seed = 15;
  CAPTURE(seed);
  ef::Rng rng(seed);
  ef::Matrix<double> x = ef::testing::random_matrix<double>(5, 6, rng);
  x = (x.array().abs() < 0.01).select(0.5, x.array());  // away from ReLU's kink
  const auto activation =
      GENERATE(ef::Activation::relu, ef::Activation::gelu, ef::Activation::gelu_tanh, ef::Activation::silu);
  CAPTURE(ef::to_string(activation));
  ef::testing::check_op({x}, [&](const Context& c, const Inputs& in) { return ef::activate(c, activation, in[0]); });
}
