#include "eigenformer/tensors/cross_entropy.hpp"

#include <vector>

#include "support/message_of.hpp"
#include "tensors/tensor_checks.hpp"

namespace ef = eigenformer;
using ef::CrossEntropyOptions;
using ef::Index;
using ef::Matrix;
using ef::Tensor;
using ef::Token;
using Eigen::half;
using namespace ef::testing;

namespace {

/// The cross entropy of each label, in double. logits: [a x classes x b]; labels: [a x b].
Tensor<double> naive(const Tensor<double>& logits, const Tensor<Token>& labels, const CrossEntropyOptions& options) {
  Tensor<double> losses(labels.shape());
  const Index classes = logits.dimension(1);
  for (Index i = 0; i < labels.dimension(0); ++i)
    for (Index j = 0; j < labels.dimension(1); ++j) {
      if (labels(i, j) == options.ignore_index) continue;
      double sum = 0;
      for (Index c = 0; c < classes; ++c) sum += std::exp(logits(i, c, j));
      for (Index c = 0; c < classes; ++c) {
        const double target = (c == labels(i, j) ? 1 - options.label_smoothing : 0) +
                              options.label_smoothing / static_cast<double>(classes);
        const double weight = options.class_weights.empty() ? 1 : options.class_weights[static_cast<std::size_t>(c)];
        losses(i, j) -= weight * target * (logits(i, c, j) - std::log(sum));
      }
    }
  return losses;
}

const std::vector<double> some_weights{0.5, 2, 0, 1, 3};
const Tensor<Token>& some_labels() {
  static const Tensor<Token> labels = ef::tensor<Token>({{0, 4, -100, 1}, {3, 2, 2, -100}, {1, 0, 3, 4}});
  return labels;
}
std::vector<CrossEntropyOptions> all_options() {
  return {{},
          {.label_smoothing = 0.1},
          {.reduction = ef::Reduction::sum},
          {.class_weights = some_weights},
          {.label_smoothing = 0.2, .reduction = ef::Reduction::sum, .class_weights = some_weights}};
}

}  // namespace

TEMPLATE_TEST_CASE("cross entropy of tensors has the bits of the kernel", "[tensors][threads]", float, double) {
  ef::ThreadPool pool(3);
  const Tensor<TestType> logits = random_tensor<TestType>({3, 4, 5}, 1);
  const std::vector<Token> labels(some_labels().data(), some_labels().data() + 12);
  for (const CrossEntropyOptions& options : all_options()) {
    Matrix<TestType> log_sum_exp(12, 1), d_logits(12, 5);
    const TestType loss = ef::cross_entropy_forward<TestType>(rows_of(logits), labels, options, log_sum_exp);
    ef::cross_entropy_backward<TestType>({rows_of(logits), log_sum_exp}, labels, options, TestType(0.5), d_logits);
    const auto result = ef::cross_entropy_forward(logits, some_labels(), options);
    CHECK(result.loss == loss);
    CHECK(result.log_sum_exp.shape() == ef::Sizes{3, 4});
    CHECK(same(result.log_sum_exp.unsqueeze(-1).contiguous(), log_sum_exp));
    CHECK(ef::cross_entropy(logits, some_labels(), options) == loss);
    CHECK(same(ef::cross_entropy_rows(logits, some_labels(), options).unsqueeze(-1),
               ef::cross_entropy_rows(rows_of(logits), labels, options)));
    const Tensor<TestType> d = ef::cross_entropy_backward(logits, some_labels(), result, TestType(0.5), options);
    CHECK(same(d, d_logits));

    // Classes in another dimension, any strides, types of labels, threads, and a temporary.
    const Tensor<TestType> turned = logits.transpose().contiguous();
    const Tensor<Index> wide_labels = some_labels().cast<Index>();
    CHECK(ef::cross_entropy(turned, wide_labels, options, 1, &pool) == loss);
    CHECK(ef::cross_entropy(logits.transpose(), some_labels().view(), options, -2) == loss);
    CHECK(ef::cross_entropy(logits + TestType(0), some_labels(), options) == loss);
    const auto turned_result = ef::cross_entropy_forward(turned, wide_labels, options, 1);
    CHECK(ef::equal(ef::cross_entropy_backward(turned, wide_labels, turned_result, TestType(0.5), options, &pool),
                    d.transpose()));
    const Tensor<TestType> rows = ef::cross_entropy_rows(logits, some_labels(), options);
    CHECK(ef::equal(ef::cross_entropy_rows(logits.transpose(0, 1), some_labels().transpose(), options),
                    rows.transpose()));
    Tensor<TestType> moved = logits;
    const TestType* const data = moved.data();
    const Tensor<TestType> in_place =
        ef::cross_entropy_backward(std::move(moved), some_labels(), result, TestType(0.5), options);
    CHECK(in_place.data() == data);
    CHECK(ef::equal(in_place, d));
  }
}

TEMPLATE_TEST_CASE("cross entropy along a dimension agrees with its definition", "[tensors]", float, double) {
  const Tensor<TestType> logits = random_tensor<TestType>({3, 5, 4}, 2);
  for (const CrossEntropyOptions& options : all_options()) {
    const Tensor<double> losses = naive(logits.template cast<double>(), some_labels(), options);
    CHECK(error_of(ef::cross_entropy_rows(logits, some_labels(), options, 1), losses) < tolerance<TestType>(16));
    double count = 0;
    for (Index i = 0; i < 12; ++i) {
      const Token label = some_labels().data()[i];
      if (label != -100) count += options.class_weights.empty() ? 1 : some_weights[static_cast<std::size_t>(label)];
    }
    const double expected = ef::sum(losses).item() / (options.reduction == ef::Reduction::sum ? 1 : count);
    CHECK(relative_error(static_cast<double>(ef::cross_entropy(logits, some_labels(), options, 1)), expected) <
          tolerance<TestType>(32));
  }
}

TEST_CASE("the derivative of cross entropy agrees with differences", "[tensors]") {
  const Tensor<double> logits = random_tensor<double>({3, 5, 4}, 3);
  for (const CrossEntropyOptions& options : all_options()) {
    const auto result = ef::cross_entropy_forward(logits, some_labels(), options, 1);
    CHECK(error_of(ef::cross_entropy_backward(logits, some_labels(), result, 2.0, options),
                   numeric(logits, [&](const auto& v) {
                     return 2 * ef::cross_entropy(v, some_labels(), options, 1);
                   })) < gradient_tolerance);
  }
}

TEST_CASE("cross entropy of one label, of none, and of 16-bit logits", "[tensors]") {
  const Tensor<float> logits = ef::tensor<float>({1, 2, 3});
  CHECK(std::abs(ef::cross_entropy(logits, ef::full<Token>({}, 2)) - 0.40760597F) < 1e-6F);
  CHECK(ef::cross_entropy(Tensor<float>({0, 3}), Tensor<Token>({0})) == 0);
  const Tensor<half> narrow = logits.cast<half>();
  const auto result = ef::cross_entropy_forward(narrow, ef::full<Index>({}, 1));
  static_assert(std::is_same_v<decltype(result.loss), float>);
  CHECK(result.loss == ef::cross_entropy(logits, ef::full<Token>({}, 1)));
  CHECK(ef::equal(ef::cross_entropy_backward(narrow, ef::full<Index>({}, 1), result, 1.0F),
                  ef::cross_entropy_backward(logits, ef::full<Index>({}, 1), result, 1.0F).cast<half>()));
}

TEST_CASE("cross entropy names what does not fit", "[tensors]") {
  const Tensor<float> logits({3, 4, 5});
  CHECK(message_of([&] {
          ef::cross_entropy(logits, Tensor<Token>({3, 5}));
        }) == "cross_entropy: logits is [3 x 4 x 5] with classes in dimension 2, labels is [3 x 5], expected [3 x 4]");
  CHECK(message_of([&] {
          ef::cross_entropy(logits, Tensor<Token>({3, 4}), {}, 1);
        }) == "cross_entropy: logits is [3 x 4 x 5] with classes in dimension 1, labels is [3 x 4], expected [3 x 5]");
  CHECK(message_of([&] {
          ef::cross_entropy(logits, Tensor<Token>({3, 4}), {}, 3);
        }) == "cross_entropy: dimension 3 of a tensor of rank 3, expected -3 to 2");
  CHECK(message_of([&] {
          ef::cross_entropy(logits, Tensor<Token>({3, 4}, 5));
        }) == "cross_entropy: the label of row 0 is 5, the size of the vocabulary is 5");
  CHECK(message_of([&] {
          ef::cross_entropy(logits, Tensor<std::int64_t>({3, 4}, std::int64_t{1} << 32));
        }) == "cross_entropy: label 0 is 4294967296, expected the number of a class");
  const auto result = ef::cross_entropy_forward(logits, Tensor<Token>({3, 4}));
  CHECK(message_of([&] {
          ef::cross_entropy_backward(logits.slice(0, {.end = 2}), Tensor<Token>({2, 4}), result, 1.0F);
        }) == "cross_entropy: log_sum_exp is [3 x 4], expected [2 x 4]");
}
