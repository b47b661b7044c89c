#include "eigenformer/kernels/alignment_loss.hpp"

#include <cmath>
#include <vector>

#include "support/approx.hpp"
#include "support/catch.hpp"
#include "support/message_of.hpp"
#include "support/random.hpp"

namespace ef = eigenformer;
using ef::Index;
using ef::Matrix;
using ef::testing::message_of;

namespace {

/// Rows of attention weights, and random labels for about half of them.
template <class Scalar>
struct LabelledWeights {
  Matrix<Scalar> weights;
  std::vector<ef::AlignmentLabel> labels;

  LabelledWeights(Index rows, Index cols, ef::Rng& rng)
      : weights(ef::testing::random_matrix<Scalar>(rows, cols, rng).array().exp().matrix()) {
    for (Index i = 0; i < rows; ++i) {
      weights.row(i) /= weights.row(i).sum();
      const Index count = rng.randint(3);
      for (Index n = 0; n < count && cols > 0; ++n) labels.push_back({i, rng.randint(cols), rng.uniform()});
    }
  }
  /// The labels as a matrix, in which equal places add up.
  Matrix<double> gold() const {
    Matrix<double> g = Matrix<double>::Zero(weights.rows(), weights.cols());
    for (const ef::AlignmentLabel& label : labels) g(label.row, label.key) += label.weight;
    return g;
  }
};

}  // namespace

TEMPLATE_TEST_CASE("the alignment loss is the cross entropy of labels and weights", "[kernels]", float, double) {
  const std::uint64_t seed = 771;
  CAPTURE(seed);
  ef::Rng rng(seed);
  for (const Index rows : {0, 1, 3, 17})
    for (const Index cols : {1, 2, 5, 33}) {
      CAPTURE(rows, cols);
      const LabelledWeights<TestType> in(rows, cols, rng);
      const Matrix<double> gold = in.gold(), weights = in.weights.template cast<double>();
      double expected = 0;
      for (Index i = 0; i < rows; ++i)
        for (Index j = 0; j < cols; ++j)
          if (gold(i, j) > 0) expected -= gold(i, j) * std::log(weights(i, j));
      const auto loss = static_cast<double>(ef::alignment_loss(in.weights, in.labels));
      CHECK(std::abs(loss - expected) <= ef::testing::rounding<TestType>(16) * std::max(1.0, expected));

      Matrix<TestType> d_weights(rows, cols);
      ef::alignment_loss_backward<TestType>(in.weights, in.labels, TestType(0.5), d_weights);
      const Matrix<double> d_expected = (-0.5 * gold.array() / weights.array()).matrix();
      CHECK(ef::testing::max_error(d_weights, d_expected) <= ef::testing::rounding<TestType>(16));
    }
}

TEST_CASE("the alignment loss has the derivative of its differences", "[kernels]") {
  const std::uint64_t seed = 772;
  CAPTURE(seed);
  ef::Rng rng(seed);
  LabelledWeights<double> in(5, 7, rng);
  Matrix<double> d_weights(5, 7);
  ef::alignment_loss_backward<double>(in.weights, in.labels, 1, d_weights);
  REQUIRE(!in.labels.empty());
  for (Index i = 0; i < in.weights.size(); ++i) {
    double& x = in.weights.data()[i];
    const double x0 = x, step = 1e-6 * x0;
    x = x0 + step;
    const double above = ef::alignment_loss(in.weights, in.labels);
    x = x0 - step;
    const double below = ef::alignment_loss(in.weights, in.labels);
    x = x0;
    const double numeric = (above - below) / (2 * step);
    CHECK(std::abs(d_weights.data()[i] - numeric) <= 1e-6 * std::max(1.0, std::abs(numeric)));
  }
}

TEMPLATE_TEST_CASE("weights of 0 give a finite alignment loss and gradient", "[kernels]", float, double) {
  Matrix<TestType> weights(1, 2), d_weights(1, 2);
  weights << 1, 0;
  const std::vector<ef::AlignmentLabel> labels{{0, 1}};
  const TestType loss = ef::alignment_loss(weights, labels);
  CHECK((loss > 70 && loss < 700));
  ef::alignment_loss_backward<TestType>(weights, labels, TestType(1e6), d_weights);
  CHECK(d_weights(0, 0) == 0);
  CHECK(d_weights(0, 1) < 0);
  CHECK(std::isfinite(d_weights(0, 1)));
}

TEST_CASE("the alignment loss refuses labels outside the weights", "[kernels]") {
  const Matrix<float> weights = Matrix<float>::Constant(2, 3, 1.0F / 3);
  const auto message = [&](const ef::AlignmentLabel& label) {
    return message_of([&] { ef::alignment_loss(weights, std::vector<ef::AlignmentLabel>{{0, 0}, label}); });
  };
  CHECK(message({2, 0}) == "alignment_loss: a label is at row 2, key 0, the weights are [2 x 3]");
  CHECK(message({0, 3}) == "alignment_loss: a label is at row 0, key 3, the weights are [2 x 3]");
  CHECK(message({-1, 0}) == "alignment_loss: a label is at row -1, key 0, the weights are [2 x 3]");
  CHECK(message({1, 2, std::nan("")}) == "alignment_loss: the label at row 1, key 2 has a weight that is not finite");
  Matrix<float> d_weights(2, 2);
  CHECK(message_of([&] { ef::alignment_loss_backward<float>(weights, {}, 1, d_weights); }) ==
        "alignment_loss: d_weights is [2 x 2], expected [2 x 3]");
}
