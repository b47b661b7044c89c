#include "eigenformer/kernels/linear_cross_entropy.hpp"

#include "kernels/kernel_checks.hpp"
#include "support/allocations.hpp"
#include "support/message_of.hpp"

namespace ef = eigenformer;
using ef::Index;
using ef::Matrix;
using ef::Token;
using namespace ef::testing;

namespace {

template <class Scalar>
struct Case {
  Matrix<Scalar> x, weight, bias;
  std::vector<Token> labels;

  Case(Index tokens, Index width, Index vocabulary_size, bool with_bias, ef::Rng& rng)
      : x(random_matrix<Scalar>(tokens, width, rng)), weight(random_matrix<Scalar>(vocabulary_size, width, rng)) {
    if (with_bias) bias = random_matrix<Scalar>(1, vocabulary_size, rng);
    for (Index i = 0; i < tokens; ++i)
      labels.push_back(i % 5 == 3 ? -100 : static_cast<Token>(rng.randint(vocabulary_size)));
  }
};

}  // namespace

TEMPLATE_TEST_CASE("the loss in chunks, and its gradients, are those of the logits all at once", "[kernels][threads]",
                   float, double) {
  const std::uint64_t seed = 17;
  CAPTURE(seed);
  ef::Rng rng(seed);
  ef::ThreadPool pool(3);
  for (const Index vocabulary_size : {1, 7, 70000})  // the last in chunks of 64 tokens
    for (const Index tokens : {0, 1, 3, 150})
      for (const bool with_bias : {false, true}) {
        if (vocabulary_size > 1000 && tokens > 1 && tokens < 100) continue;
        CAPTURE(vocabulary_size, tokens, with_bias);
        const Case<TestType> c(tokens, 6, vocabulary_size, with_bias, rng);
        const ef::CrossEntropyOptions options{.label_smoothing = 0.1};
        Matrix<TestType> logits(tokens, vocabulary_size), log_sum_exp(tokens, 1), d_logits = logits;
        ef::linear_forward<TestType>(c.x, c.weight, c.bias, logits);
        const TestType loss = ef::cross_entropy_forward<TestType>(logits, c.labels, options, log_sum_exp);
        ef::cross_entropy_backward<TestType>({logits, log_sum_exp}, c.labels, options, TestType(0.5), d_logits);

        Matrix<TestType> chunked(tokens, 1);
        const TestType given =
            ef::linear_cross_entropy_forward<TestType>({c.x, c.weight, c.bias}, c.labels, options, chunked);
        CHECK(std::abs(static_cast<double>(given - loss)) <=
              rounding<TestType>(16) * std::abs(static_cast<double>(loss)));
        CHECK(identical<TestType>(chunked, log_sum_exp));

        Matrix<TestType> d_x(tokens, 6), d_weight(vocabulary_size, 6), d_bias(c.bias.rows(), c.bias.cols());
        const auto backward = [&](ef::Threads* threads) {
          ef::linear_cross_entropy_backward<TestType>({{c.x, c.weight, c.bias}, chunked}, c.labels, options,
                                                      TestType(0.5), {d_x, d_weight, d_bias}, threads);
        };
        backward(nullptr);
        const auto near = [&](const Matrix<TestType>& d, const Matrix<double>& expected) {
          return max_error(d, expected) <= rounding<TestType>(64) * std::max(1.0, expected.cwiseAbs().maxCoeff());
        };
        const Matrix<double> d = d_logits.template cast<double>();
        if (tokens > 0) {
          CHECK(near(d_x, d * c.weight.template cast<double>()));
          CHECK(near(d_weight, d.transpose() * c.x.template cast<double>()));
          if (with_bias) CHECK(near(d_bias, d.colwise().sum()));
        } else {
          CHECK((d_weight.array() == 0).all());
        }
        const Matrix<TestType> x_alone = d_x, weight_alone = d_weight;
        backward(&pool);
        CHECK(identical<TestType>(d_x, x_alone));
        CHECK(identical<TestType>(d_weight, weight_alone));
      }
}

TEMPLATE_TEST_CASE("linear_cross_entropy_with_gradients equals forward and backward", "[kernels][threads]", float,
                   double) {
  ef::Rng rng(21);
  ef::ThreadPool pool(3);
  for (const Index vocabulary_size : {7, 70000})  // the second in chunks of 64 tokens
    for (const Index tokens : {0, 3, 150}) {
      CAPTURE(vocabulary_size, tokens);
      const Case<TestType> c(tokens, 6, vocabulary_size, true, rng);
      const ef::CrossEntropyOptions options{.label_smoothing = 0.1, .reduction = ef::Reduction::sum};
      const ef::LinearCrossEntropyInputs<TestType> in{c.x, c.weight, c.bias};
      Matrix<TestType> log_sum_exp(tokens, 1), d_x(tokens, 6), d_weight(vocabulary_size, 6), d_bias(1, vocabulary_size);
      const TestType loss = ef::linear_cross_entropy_forward<TestType>(in, c.labels, options, log_sum_exp);
      ef::linear_cross_entropy_backward<TestType>({in, log_sum_exp}, c.labels, options, TestType(1),
                                                  {d_x, d_weight, d_bias});
      for (ef::Threads* threads : {static_cast<ef::Threads*>(nullptr), static_cast<ef::Threads*>(&pool)}) {
        Matrix<TestType> x_once(tokens, 6), weight_once(vocabulary_size, 6), bias_once(1, vocabulary_size), none;
        CHECK(ef::linear_cross_entropy_with_gradients<TestType>(in, c.labels, options, {x_once, weight_once, bias_once},
                                                                threads) == loss);
        CHECK(identical<TestType>(x_once, d_x));
        CHECK(identical<TestType>(weight_once, d_weight));
        CHECK(identical<TestType>(bias_once, d_bias));
        x_once.setZero();
        CHECK(ef::linear_cross_entropy_with_gradients<TestType>(in, c.labels, options, {x_once, none, none}, threads) ==
              loss);
        CHECK(identical<TestType>(x_once, d_x));
      }
    }
}

TEST_CASE("the logits of a large vocabulary are never held", "[kernels]") {
  ef::Rng rng(18);
  const Index tokens = 600, vocabulary_size = 65536;
  const Case<float> c(tokens, 4, vocabulary_size, false, rng);
  Matrix<float> log_sum_exp(tokens, 1);
  const ef::testing::AllocationCount allocations(static_cast<std::size_t>(tokens * vocabulary_size) * sizeof(float) /
                                                 8);
  ef::linear_cross_entropy_forward<float>({c.x, c.weight, c.bias}, c.labels, {}, log_sum_exp);
  CHECK(allocations.count() == 0);
}

TEST_CASE("a loss in chunks names what does not fit", "[kernels]") {
  ef::Rng rng(19);
  const Case<float> c(4, 3, 5, true, rng);
  Matrix<float> log_sum_exp(4, 1), wrong(3, 1);
  CHECK(message_of([&] {
          ef::linear_cross_entropy_forward<float>({c.x, c.weight, c.bias}, std::vector<Token>{1, 2}, {}, log_sum_exp);
        }) == "cross_entropy: logits is [4 x 5], labels has 2");
  CHECK(message_of([&] {
          ef::linear_cross_entropy_forward<float>({c.x, c.weight, c.bias}, c.labels, {}, wrong);
        }) == "cross_entropy: log_sum_exp is [3 x 1], expected [4 x 1]");
  CHECK(message_of([&] {
          ef::linear_cross_entropy_with_gradients<float>({c.x, c.weight, c.bias}, c.labels, {}, {wrong, wrong, wrong});
        }) == "cross_entropy: d_x is [3 x 1], expected [4 x 3]");
}

TEST_CASE("linear cross entropy in bfloat16 equals a linear layer in bfloat16 and cross entropy",
          "[kernels][threads]") {
  const std::uint64_t seed = 20;
  CAPTURE(seed);
  ef::Rng rng(seed);
  ef::ThreadPool pool(3);
  const ef::ProductOptions in_bfloat16(nullptr, ef::Precision::bfloat16);
  const ef::CrossEntropyOptions options{.label_smoothing = 0.1};
  for (const Index vocabulary_size : {1, 7, 130, 70000}) {  // the last in chunks of 64 tokens
    CAPTURE(vocabulary_size);
    const Index tokens = 70, width = 37;
    const Case<float> c(tokens, width, vocabulary_size, true, rng);
    Matrix<float> logits(tokens, vocabulary_size), log_sum_exp(tokens, 1), d_logits = logits;
    ef::linear_forward<float>(c.x, c.weight, c.bias, logits, in_bfloat16);
    const float loss = ef::cross_entropy_forward<float>(logits, c.labels, options, log_sum_exp);
    ef::cross_entropy_backward<float>({logits, log_sum_exp}, c.labels, options, 1, d_logits);
    Matrix<float> expected_x(tokens, width), expected_weight(vocabulary_size, width);
    ef::linear_backward_input<float>(c.weight, d_logits, expected_x, in_bfloat16);
    ef::linear_backward_weight<float>(c.x, d_logits, expected_weight, in_bfloat16);

    Matrix<float> chunked(tokens, 1), d_x = expected_x, d_weight = expected_weight, d_bias(1, vocabulary_size);
    for (ef::Threads* threads : {static_cast<ef::Threads*>(nullptr), static_cast<ef::Threads*>(&pool)}) {
      const ef::ProductOptions products(threads, ef::Precision::bfloat16);
      const float given =
          ef::linear_cross_entropy_forward<float>({c.x, c.weight, c.bias}, c.labels, options, chunked, products);
      CHECK(std::abs(given - loss) <= rounding<float>(16) * std::abs(loss));
      CHECK(identical<float>(chunked, log_sum_exp));
      ef::linear_cross_entropy_backward<float>({{c.x, c.weight, c.bias}, chunked}, c.labels, options, 1.0F,
                                               {d_x, d_weight, d_bias}, products);
      CHECK(identical<float>(d_x, expected_x));
      const double largest = static_cast<double>(expected_weight.cwiseAbs().maxCoeff());
      CHECK((d_weight - expected_weight).cwiseAbs().maxCoeff() <= rounding<float>(64) * largest);
    }
  }
}
