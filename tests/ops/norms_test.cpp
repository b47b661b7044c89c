#include "eigenformer/ops/norms.hpp"

#include "eigenformer/layers/norms.hpp"
#include "eigenformer/tensors/creation.hpp"
#include "eigenformer/tensors/normalization.hpp"
#include "support/ops.hpp"

namespace ef = eigenformer;
using ef::testing::random_matrix;
using Context = ef::Context<double>;
using Inputs = std::vector<ef::Variable<double>>;

TEST_CASE("gradients of the norms, with respect to input, gain and bias", "[ops]") {
  const std::uint64_t seed = 14;
  CAPTURE(seed);
  ef::Rng rng(seed);
  const auto x = random_matrix<double>(6, 7, rng), gain = random_matrix<double>(1, 7, rng),
             bias = random_matrix<double>(1, 7, rng);
  ef::testing::check_op(
      {x, gain, bias}, [](const Context& c, const Inputs& in) { return ef::layer_norm(c, in[0], in[1], in[2], 1e-5); });
  const auto added = random_matrix<double>(6, 7, rng);
  ef::testing::check_op({x, added, gain, bias}, [](const Context& c, const Inputs& in) {
    return ef::add_layer_norm(c, in[0], in[1], in[2], in[3], 1e-5);
  });
  ef::testing::check_op({x, gain}, [](const Context& c, const Inputs& in) {  // a sum of one with itself
    return ef::add_layer_norm(c, in[0], in[0], in[1], in[1], 1e-5);
  });
  ef::testing::check_op({x, gain},
                        [](const Context& c, const Inputs& in) { return ef::rms_norm(c, in[0], in[1], 1e-5); });
}

TEST_CASE("the layer, the operation, the kernel and the tensor function of RMS norm have one epsilon", "[ops]") {
  ef::Rng rng(15);
  const ef::Matrix<double> x = 1e-3 * random_matrix<double>(3, 5, rng);  // x^2 is not far from epsilon
  const ef::RmsNorm<double> layer(5);
  const ef::Matrix<double> expected = layer({}, x).value();
  CHECK(ef::rms_norm<double>({}, x, layer.weight.value).value() == expected);
  CHECK(ef::rms_norm(x, layer.weight.value) == expected);
  const ef::Tensor<double> of_tensors = ef::rms_norm(ef::Tensor<double>(x), ef::ones<double>({5}));
  CHECK(of_tensors.matrix() == expected);
}
