#include "eigenformer/ops/activations.hpp"

#include "eigenformer/core/thread_pool.hpp"
#include "eigenformer/tensors/comparison.hpp"
#include "eigenformer/tensors/glu.hpp"
#include "ops/tensor_ops.hpp"

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
  ef::testing::check_op({x}, [](const Context& c, const Inputs& in) { return ef::tanh(c, in[0]); });
}

TEST_CASE("gradients of the gated linear unit", "[ops]") {
  const std::uint64_t seed = 17;
  CAPTURE(seed);
  ef::Rng rng(seed);
  const ef::Matrix<double> x = ef::testing::random_matrix<double>(5, 6, rng);
  ef::testing::check_op({x}, [](const Context& c, const Inputs& in) { return ef::glu(c, in[0]); });
  CHECK(ef::glu(Context{}, ef::Variable<double>(x)).value() == ef::glu(x));
  for (const ef::Index dimension : {0, 1, 2, -1}) {
    CAPTURE(dimension);
    const auto tensor = ef::testing::random_tensor({4, 2, 6}, rng);
    CHECK(ef::equal(ef::glu(Context{}, tensor, dimension).tensor(), ef::glu(tensor.tensor(), dimension)));
    ef::testing::check_tensor_op({{4, 2, 6}}, rng,
                                 [&](const Context& c, const Inputs& in) { return ef::glu(c, in[0], dimension); });
  }
}

TEST_CASE("an activated linear map is the same with a tape and without, packed or not", "[ops][threads]") {
  const std::uint64_t seed = 16;
  CAPTURE(seed);
  ef::Rng rng(seed);
  ef::ThreadPool pool(3);
  for (const ef::Index outputs : {1, 17, 300}) {
    const ef::Parameter<double> weight(ef::testing::random_matrix<double>(outputs, 6, rng));
    const ef::Parameter<double> bias(ef::testing::random_matrix<double>(1, outputs, rng));
    const ef::Variable<double> x(ef::testing::random_matrix<double>(250, 6, rng));
    const ef::PackedWeights<double> packed(weight);
    for (const ef::Activation activation : {ef::Activation::relu, ef::Activation::gelu}) {
      ef::Tape<double> tape;
      const ef::Matrix<double> y = ef::activated_linear(Context{.tape = &tape}, activation, x, weight, bias).value();
      CHECK(ef::activated_linear(Context{}, activation, x, weight, bias).value() == y);
      CHECK(ef::activated_linear(Context{.threads = &pool, .packed = &packed}, activation, x, weight, bias).value() ==
            y);
    }
  }
}
