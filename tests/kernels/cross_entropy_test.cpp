#include "eigenformer/kernels/cross_entropy.hpp"

#include "kernels/kernel_checks.hpp"
#include "support/message_of.hpp"

namespace ef = eigenformer;
using ef::CrossEntropyOptions;
using ef::Index;
using ef::Matrix;
using ef::Reduction;
using ef::Token;
using namespace ef::testing;

namespace {

constexpr double unbounded = std::numeric_limits<double>::infinity();

/// Every fourth label or so is the ignored one.
std::vector<Token> random_labels(Index count, Index vocabulary_size, Token ignored, ef::Rng& rng) {
  std::vector<Token> labels;
  for (Index i = 0; i < count; ++i)
    labels.push_back(rng.randint(4) == 0 ? ignored : static_cast<Token>(rng.randint(vocabulary_size)));
  return labels;
}

struct Naive {
  Matrix<double> rows, log_sum_exp, gradient;
  double loss;
};
/// By the definition: the target's probabilities times the logarithms of the softmax.
Naive naive_cross_entropy(const Matrix<double>& logits, const std::vector<Token>& labels,
                          const CrossEntropyOptions& options) {
  const Index n = logits.cols();
  Naive r{Matrix<double>::Zero(logits.rows(), 1), Matrix<double>::Zero(logits.rows(), 1),
          Matrix<double>::Zero(logits.rows(), n), 0};
  double counted = 0;
  for (Index i = 0; i < logits.rows(); ++i) {
    const Token label = labels[static_cast<std::size_t>(i)];
    if (label == options.ignore_index) continue;
    const auto weight = [&](Index j) {
      return options.class_weights.empty() ? 1 : options.class_weights[static_cast<std::size_t>(j)];
    };
    counted += weight(label);
    const double largest = logits.row(i).maxCoeff();
    double sum = 0;
    for (Index j = 0; j < n; ++j) sum += std::exp(logits(i, j) - largest);
    r.log_sum_exp(i, 0) = largest + std::log(sum);
    double total = 0;
    for (Index j = 0; j < n; ++j) {
      const double target = weight(j) * ((j == label ? 1 - options.label_smoothing : 0) +
                                         options.label_smoothing / static_cast<double>(n));
      total += target;
      r.rows(i, 0) -= target * (logits(i, j) - largest - std::log(sum));
      r.gradient(i, j) = -target;
    }
    for (Index j = 0; j < n; ++j) r.gradient(i, j) += total * std::exp(logits(i, j) - largest) / sum;
    r.loss += r.rows(i, 0);
  }
  if (options.reduction == Reduction::mean && counted > 0) {
    r.loss /= counted;
    r.gradient /= counted;
  }
  return r;
}

}  // namespace

TEMPLATE_TEST_CASE("cross entropy agrees with its definition", "[kernels][threads]", float, double) {
  const auto seed = GENERATE(191U, 192U);
  const auto smoothing = GENERATE(0.0, 0.1, 1.0);
  const auto reduction = GENERATE(Reduction::mean, Reduction::sum);
  const auto weighted = GENERATE(false, true);
  CAPTURE(seed, smoothing, reduction == Reduction::sum, weighted);
  CrossEntropyOptions options{.label_smoothing = smoothing, .ignore_index = -1, .reduction = reduction};
  ef::Rng rng(seed);
  for (const ef::Shape& s : odd_shapes()) {
    CAPTURE(s.rows, s.cols);
    std::vector<double> class_weights;
    if (weighted)
      for (Index j = 0; j < s.cols; ++j) class_weights.push_back(0.5 + rng.uniform());
    options.class_weights = class_weights;
    const auto logits = random_matrix<TestType>(s.rows, s.cols, rng, 2);
    const auto labels = random_labels(s.rows, s.cols, -1, rng);
    const Naive naive = naive_cross_entropy(logits.template cast<double>(), labels, options);

    const auto given =
        run_every_way<TestType>({logits}, {{s.rows, 1}, {1, 1}}, [&](auto& in, auto& out, ef::Threads* threads) {
          out[1](0, 0) = ef::cross_entropy_forward<TestType>(in[0], labels, options, out[0], threads);
        });
    CHECK(max_error(given[0], naive.log_sum_exp) < tolerance<TestType>(4));
    CHECK(std::abs(static_cast<double>(given[1](0, 0)) - naive.loss) <
          tolerance<TestType>(4) * std::max(1.0, naive.loss));
    CHECK(ef::cross_entropy(logits, labels, options) == given[1](0, 0));
    const Matrix<TestType> rows = ef::cross_entropy_rows(logits, labels, options);
    CHECK(max_error(rows, naive.rows) < tolerance<TestType>(4));
    ef::ThreadPool pool(3);
    CHECK(identical<TestType>(ef::cross_entropy_rows(logits, labels, options, &pool), rows));

    const auto d_logits =
        run_every_way<TestType>({logits, given[0]}, {s}, [&](auto& in, auto& out, ef::Threads* threads) {
          ef::cross_entropy_backward<TestType>({in[0], in[1]}, labels, options, TestType(0.5), out[0], threads);
        })[0];
    CHECK(max_error(d_logits, 0.5 * naive.gradient) < tolerance<TestType>(16));

    Matrix<TestType> in_place = logits;
    ef::cross_entropy_backward<TestType>({in_place, given[0]}, labels, options, TestType(0.5), in_place);
    CHECK(identical<TestType>(in_place, d_logits));
  }
}

TEMPLATE_TEST_CASE("cross entropy agrees with PyTorch", "[kernels]", float, double) {
  const Matrix<double> exact{{0.5, -1.25, 2.0, 0.0, 1.5},
                             {3.0, 0.25, -0.75, 1.0, -2.0},
                             {-0.5, 0.5, 1.0, -1.0, 0.0},
                             {10.0, -10.0, 4.0, 6.5, 0.125}};
  const Matrix<TestType> logits = exact.template cast<TestType>();
  const std::vector<Token> labels{2, 4, -100, 3};
  const double most = tolerance<TestType>(4);
  const auto loss = [&](const CrossEntropyOptions& options) {
    return Matrix<TestType>::Constant(1, 1, ef::cross_entropy(logits, labels, options));
  };
  CHECK(max_error(loss({}), Matrix<double>{{3.144618968493645}}) < most);
  CHECK(max_error(loss({.reduction = Reduction::sum}), Matrix<double>{{9.433856905480935}}) < most);
  CHECK(max_error(loss({.label_smoothing = 0.1}), Matrix<double>{{3.262118968493645}}) < most);
  const std::vector<double> weights{0.5, 2, 1.25, 0.25, 3};
  CHECK(max_error(loss({.class_weights = weights}), Matrix<double>{{3.8603795050641576}}) < most);
  CHECK(max_error(loss({.label_smoothing = 0.1, .class_weights = weights}), Matrix<double>{{4.005339324950482}}) <
        most);
  // Labels whose classes have weight 0: smoothing alone gives a sum above 0. It has no mean.
  const std::vector<double> zero_weights{0.5, 2, 0, 0, 0};
  CrossEntropyOptions smoothed{.label_smoothing = 0.1, .reduction = Reduction::sum, .class_weights = zero_weights};
  const Naive naive = naive_cross_entropy(exact, labels, smoothed);
  CHECK(naive.loss > 0.1);
  CHECK(max_error(loss(smoothed), Matrix<double>::Constant(1, 1, naive.loss)) < most);
  smoothed.reduction = Reduction::mean;
  CHECK(max_error(loss(smoothed), Matrix<double>{{0}}) == 0);
  CHECK(max_error(ef::cross_entropy_rows(logits, labels, {.label_smoothing = 0.1}),
                  Matrix<double>{{0.8400305613490908}, {4.976622903661595}, {0}, {3.96970344047025}}) < most);
  const Matrix<double> gradient{
      {0.030451719429681296, -0.0002164583401881079, -0.1403136013900756, 0.015846772539819504, 0.09423156776076287},
      {0.26444209817808895, 0.010664736824250788, -0.00029079963571116844, 0.030023914811526557, -0.30483995017815513},
      {0, 0, 0, 0, 0},
      {0.3161031895618758, -0.006666666001388408, -0.00586660018297788, -0.2969198615609667, -0.006650061816542767}};
  Matrix<TestType> log_sum_exp(4, 1);
  Matrix<TestType> d_logits(4, 5);
  const CrossEntropyOptions options{.label_smoothing = 0.1};
  ef::cross_entropy_forward<TestType>(logits, labels, options, log_sum_exp);
  ef::cross_entropy_backward<TestType>({logits, log_sum_exp}, labels, options, 1, d_logits);
  CHECK(max_error(d_logits, gradient) < most);
}

TEST_CASE("the derivative of cross entropy agrees with differences", "[kernels]") {
  const auto smoothing = GENERATE(0.0, 0.2);
  const auto reduction = GENERATE(Reduction::mean, Reduction::sum);
  CAPTURE(smoothing, reduction == Reduction::sum);
  const CrossEntropyOptions options{.label_smoothing = smoothing, .reduction = reduction};
  ef::Rng rng(201);
  for (const Index cols : {1, 2, 7, 17, 64}) {
    CAPTURE(cols);
    const auto logits = random_matrix<double>(6, cols, rng);
    const auto labels = random_labels(6, cols, options.ignore_index, rng);
    Matrix<double> log_sum_exp(6, 1);
    Matrix<double> d_logits(6, cols);
    ef::cross_entropy_forward<double>(logits, labels, options, log_sum_exp);
    ef::cross_entropy_backward<double>({logits, log_sum_exp}, labels, options, 3, d_logits);
    CHECK(max_error(d_logits, numeric_gradient(logits, [&](const Matrix<double>& v) {
                      return 3 * ef::cross_entropy(v, labels, options);
                    })) < gradient_tolerance);
  }
}

TEMPLATE_TEST_CASE("cross entropy of extreme logits", "[kernels]", float, double) {
  const auto inf = static_cast<TestType>(unbounded);
  Matrix<TestType> logits(4, 3);
  logits << 1e4F, 9999.5F, -1e4F,  // float has the last digit of 1e4 at 0.001; the loss has all of its own
      -inf, 2, -inf,               //
      -inf, 2, 2,                  //
      -inf, -inf, -inf;
  const std::vector<Token> labels{0, 1, 0, 1};
  const Matrix<TestType> rows = ef::cross_entropy_rows(logits, labels);
  CHECK(std::abs(static_cast<double>(rows(0, 0)) - std::log1p(std::exp(-0.5))) < rounding<TestType>(2));
  CHECK(rows(1, 0) == TestType(0));
  CHECK(rows(2, 0) == inf);
  CHECK(rows(3, 0) == inf);

  Matrix<TestType> log_sum_exp(4, 1);
  Matrix<TestType> d_logits(4, 3);
  const CrossEntropyOptions options{.reduction = Reduction::sum};
  CHECK(ef::cross_entropy_forward<TestType>(logits, labels, options, log_sum_exp) == inf);
  ef::cross_entropy_backward<TestType>({logits, log_sum_exp}, labels, options, 1, d_logits);
  CHECK(max_error(d_logits.bottomRows(3), Matrix<double>{{0, 0, 0}, {-1, 0.5, 0.5}, {0, -1, 0}}) <
        rounding<TestType>(2));
  CHECK(d_logits.allFinite());

  // A uniform row of many classes.
  const Matrix<TestType> many = Matrix<TestType>::Constant(1, 250007, TestType(0.1));
  const std::vector<Token> label{250006};
  CHECK(std::abs(static_cast<double>(ef::cross_entropy(many, label)) - std::log(250007.0)) < rounding<TestType>(16));

  const Matrix<TestType> with_nan = Matrix<TestType>::Constant(1, 20, std::numeric_limits<TestType>::quiet_NaN());
  CHECK(std::isnan(ef::cross_entropy(with_nan, std::vector<Token>{3})));
}

TEST_CASE("labels that are ignored count for nothing", "[kernels]") {
  ef::Rng rng(211);
  const auto logits = random_matrix<double>(3, 5, rng);
  const std::vector<Token> none{-100, -100, -100};
  const auto reduction = GENERATE(Reduction::mean, Reduction::sum);
  const CrossEntropyOptions options{.reduction = reduction};
  Matrix<double> log_sum_exp = Matrix<double>::Constant(3, 1, 99);
  CHECK(ef::cross_entropy_forward<double>(logits, none, options, log_sum_exp) == 0);
  CHECK((log_sum_exp.array() == 0).all());
  Matrix<double> d_logits = Matrix<double>::Constant(3, 5, 99);
  ef::cross_entropy_backward<double>({logits, log_sum_exp}, none, options, 1, d_logits);
  CHECK((d_logits.array() == 0).all());

  CHECK(ef::cross_entropy(Matrix<double>(0, 5), std::vector<Token>{}) == 0);
  // The ignored label may be one of the vocabulary.
  const std::vector<Token> padded{1, 0, 2};
  const std::vector<Token> shorter{1, 2};
  Matrix<double> kept(2, 5);
  kept << logits.row(0), logits.row(2);
  CHECK(ef::cross_entropy(logits, padded, {.ignore_index = 0}) == ef::cross_entropy(kept, shorter));
  CHECK(ef::cross_entropy_rows(logits, padded, {.ignore_index = 0})(1, 0) == 0);
}

TEST_CASE("cross entropy takes any Eigen matrix", "[kernels]") {
  ef::Rng rng(221);
  const auto logits = random_matrix<float>(4, 6, rng);
  const std::vector<Token> labels{1, 5, 0, 2};
  const Eigen::MatrixXf by_columns = logits;
  CHECK(ef::cross_entropy(by_columns, labels) == ef::cross_entropy(logits, labels));
  CHECK(ef::cross_entropy(2 * by_columns, labels) == ef::cross_entropy(Matrix<float>(2 * logits), labels));
  CHECK(identical<float>(ef::cross_entropy_rows(by_columns, labels), ef::cross_entropy_rows(logits, labels)));
  CHECK(identical<float>(ef::cross_entropy_rows(by_columns.transpose().transpose(), labels),
                         ef::cross_entropy_rows(logits, labels)));
}

TEST_CASE("cross entropy names what does not fit", "[kernels]") {
  const Matrix<float> logits = Matrix<float>::Zero(3, 5);
  const std::vector<Token> labels{1, -100, 2};
  Matrix<float> column(3, 1);
  Matrix<float> row(1, 3);
  Matrix<float> d_logits(3, 5);
  CHECK(message_of([&] {
          ef::cross_entropy(logits, std::vector<Token>{1, -100, 5});
        }) == "cross_entropy: the label of row 2 is 5, the size of the vocabulary is 5");
  CHECK(message_of([&] {
          ef::cross_entropy_rows(logits, std::vector<Token>{1, -1, 2});
        }) == "cross_entropy: the label of row 1 is -1, the size of the vocabulary is 5");
  CHECK(message_of([&] {
          ef::cross_entropy(logits, std::vector<Token>{1, 2});
        }) == "cross_entropy: logits is [3 x 5], labels has 2");
  const std::vector<double> four_weights{1, 2, 3, 4};
  CHECK(message_of([&] { ef::cross_entropy(logits, labels, {.class_weights = four_weights}); }) ==
        "cross_entropy: logits is [3 x 5], class_weights has 4");
  CHECK(message_of([&] { ef::cross_entropy(logits, labels, {.label_smoothing = 1.5}); }) ==
        "cross_entropy: label_smoothing is 1.5, expected 0 to 1");
  CHECK(message_of([&] { ef::cross_entropy_forward<float>(logits, labels, {}, row); }) ==
        "cross_entropy: log_sum_exp is [1 x 3], expected [3 x 1]");
  CHECK(message_of([&] {
          ef::cross_entropy_backward<float>({logits, row}, labels, {}, 1, d_logits);
        }) == "cross_entropy: log_sum_exp is [1 x 3], expected [3 x 1]");
  CHECK(message_of([&] {
          ef::cross_entropy_backward<float>({logits, column}, labels, {}, 1, row);
        }) == "cross_entropy: d_logits is [1 x 3], expected [3 x 5]");
  CHECK(message_of([&] {
          ef::cross_entropy_backward<float>({logits, column}, std::vector<Token>{1, 7, 2}, {}, 1, d_logits);
        }) == "cross_entropy: the label of row 1 is 7, the size of the vocabulary is 5");
}
