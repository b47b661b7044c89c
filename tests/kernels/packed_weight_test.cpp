#include "eigenformer/kernels/packed_weight.hpp"

#include "eigenformer/kernels/matmul.hpp"
#include "kernels/kernel_checks.hpp"
#include "support/message_of.hpp"

namespace ef = eigenformer;
using ef::Index;
using ef::Matrix;
using namespace ef::testing;

TEMPLATE_TEST_CASE("a linear map by a packed weight is that by the weight itself, to the last bit", "[kernels]", float,
                   double) {
  const std::uint64_t seed = 5;
  CAPTURE(seed);
  ef::Rng rng(seed);
  ef::ThreadPool pool(3);
  for (const Index inputs : {0, 1, 17, 64, 300})
    for (const Index outputs : {0, 1, 15, 48, 49, 300, 700}) {
      const auto weight = random_matrix<TestType>(outputs, inputs, rng);
      const ef::PackedWeight<TestType> packed(weight);
      CHECK(packed.inputs() == inputs);
      CHECK(packed.outputs() == outputs);
      for (const bool with_bias : {false, true})
        for (const Index tokens : {0, 1, 2, 5, 8, 250}) {
          CAPTURE(inputs, outputs, tokens, with_bias);
          const auto x = random_matrix<TestType>(tokens, inputs, rng);
          const Matrix<TestType> bias = with_bias ? random_matrix<TestType>(1, outputs, rng) : Matrix<TestType>();
          Matrix<TestType> expected(tokens, outputs);
          ef::linear_forward<TestType>(x, weight, bias, expected);
          Surrounded<TestType> y(Matrix<TestType>::Zero(tokens, outputs));
          ef::linear_forward<TestType>(x, packed, bias, y.inside());
          CHECK(identical<TestType>(y.inside(), expected));
          ef::linear_forward<TestType>(x, packed, bias, y.inside(), &pool);
          CHECK(identical<TestType>(y.inside(), expected));
          CHECK(y.rest_is_untouched());
        }
    }
}

TEST_CASE("a packed weight that does not fit is named", "[kernels]") {
  const ef::PackedWeight<float> weight(Matrix<float>::Ones(3, 4));
  const Matrix<float> none;
  Matrix<float> y(2, 3), wrong(2, 4);
  CHECK(message_of([&] { ef::linear_forward<float>(Matrix<float>::Ones(2, 5), weight, none, y); }) ==
        "linear: x is [2 x 5], weight is [3 x 4]");
  CHECK(message_of([&] {
          ef::linear_forward<float>(Matrix<float>::Ones(2, 4), weight, Matrix<float>::Ones(1, 4), y);
        }) == "linear: bias is [1 x 4], weight is [3 x 4]");
  CHECK(message_of([&] { ef::linear_forward<float>(Matrix<float>::Ones(2, 4), weight, none, wrong); }) ==
        "linear: y is [2 x 4], expected [2 x 3]");
}
