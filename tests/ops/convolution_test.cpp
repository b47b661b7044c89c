#include "eigenformer/ops/convolution.hpp"

#include "eigenformer/core/thread_pool.hpp"
#include "support/ops.hpp"

namespace ef = eigenformer;
using ef::testing::check_op;
using ef::testing::random_matrix;
using Context = ef::Context<double>;
using Inputs = std::vector<ef::Variable<double>>;

TEST_CASE("gradients of a convolution", "[ops]") {
  const std::uint64_t seed = 331;
  CAPTURE(seed);
  ef::Rng rng(seed);
  const ef::RowOffsets rows{0, 2, 2, 9};
  const auto padding = GENERATE(ef::ConvolutionPadding::same, ef::ConvolutionPadding::causal);
  const ef::Index kernel = GENERATE(3, 4), dilation = GENERATE(1, 2);
  CAPTURE(ef::to_string(padding), kernel, dilation);
  const ef::ConvolutionWindow window{.kernel = kernel, .dilation = dilation, .padding = padding};
  const auto x = random_matrix<double>(9, 3, rng), w = random_matrix<double>(4, 3 * kernel, rng);
  const auto bias = random_matrix<double>(1, 4, rng);
  check_op({x, w, bias},
           [&](const Context& c, const Inputs& in) { return ef::convolution(c, in[0], in[1], in[2], window, rows); });
  check_op({x, w}, [&](const Context& c, const Inputs& in) {
    return ef::convolution(c, in[0], in[1], ef::Variable<double>(), window, rows);
  });
}

TEST_CASE("a convolution is the same with a tape and without, packed or not", "[ops][threads]") {
  const std::uint64_t seed = 332;
  CAPTURE(seed);
  ef::Rng rng(seed);
  ef::ThreadPool pool(3);
  const ef::RowOffsets rows{0, 100, 130, 250};
  for (const ef::Index outputs : {1, 17, 300}) {
    const ef::Parameter<double> weight(random_matrix<double>(outputs, 18, rng));
    const ef::Parameter<double> bias(random_matrix<double>(1, outputs, rng)), none;
    const ef::Variable<double> x(random_matrix<double>(250, 6, rng));
    const ef::PackedWeights<double> packed(weight);
    for (const auto* b : {&bias, &none}) {
      ef::Tape<double> tape;
      const ef::Matrix<double> y = ef::convolution(Context{.tape = &tape}, x, weight, *b, {}, rows).value();
      CHECK(ef::convolution(Context{}, x, weight, *b, {}, rows).value() == y);
      CHECK(ef::convolution(Context{.threads = &pool, .packed = &packed}, x, weight, *b, {}, rows).value() == y);
    }
    // A weight packed as bfloat16 is not used.
    const ef::Parameter<float> weight_f(weight.value.cast<float>());
    const ef::PackedWeights<float> reduced(weight_f, ef::WeightType::bfloat16);
    const ef::Variable<float> x_f(ef::Matrix<float>(x.value().cast<float>()));
    CHECK(ef::convolution<float>({.packed = &reduced}, x_f, weight_f, {}, {}, rows).value() ==
          ef::convolution<float>({}, x_f, weight_f, {}, {}, rows).value());
  }
}
