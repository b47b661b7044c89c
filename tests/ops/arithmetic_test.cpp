#include "eigenformer/ops/arithmetic.hpp"

#include <limits>

#include "eigenformer/ops/reductions.hpp"
#include "support/ops.hpp"

namespace ef = eigenformer;
using ef::testing::check_op;
using Context = ef::Context<double>;
using Inputs = std::vector<ef::Variable<double>>;

TEST_CASE("sums, differences, products and multiples have the values and gradients of their definitions", "[ops]") {
  const std::uint64_t seed = 11;
  CAPTURE(seed);
  ef::Rng rng(seed);
  const auto a = ef::testing::random_matrix<double>(5, 3, rng);
  const auto b = ef::testing::random_matrix<double>(5, 3, rng);
  const Context none{};
  const ef::Variable<double> x = a, y = b;
  CHECK(ef::add(none, x, y).value() == a + b);
  CHECK(ef::subtract(none, x, y).value() == a - b);
  CHECK(ef::multiply(none, x, y).value() == a.cwiseProduct(b));
  CHECK(ef::scale(none, x, 3).value() == 3 * a);
  CHECK(std::abs(ef::sum(none, x).scalar() - a.sum()) < 1e-14);

  check_op({a, b}, [](const Context& c, const Inputs& in) { return ef::add(c, in[0], in[1]); });
  check_op({a, b}, [](const Context& c, const Inputs& in) { return ef::subtract(c, in[0], in[1]); });
  check_op({a, b}, [](const Context& c, const Inputs& in) { return ef::multiply(c, in[0], in[1]); });
  check_op({a}, [](const Context& c, const Inputs& in) { return ef::scale(c, in[0], -2.5); });
  check_op({a}, [](const Context& c, const Inputs& in) { return ef::sum(c, in[0]); });
  check_op({a}, [](const Context& c, const Inputs& in) { return ef::multiply(c, in[0], in[0]); });
}

TEST_CASE("a sum of many floats is as accurate as the sum over its dimension", "[ops]") {
  const ef::Index count = 1'000'000;
  const ef::Variable<float> x(ef::Tensor<float>({count}, 0.1F));
  const double expected = static_cast<double>(count) * static_cast<double>(0.1F);
  // A sum of 1024 positive floats in sequence would be off by 1024 / 2 units of rounding at most.
  const double tolerance = 512 * static_cast<double>(std::numeric_limits<float>::epsilon()) * expected;
  const float of_all = ef::sum<float>({}, x).scalar();
  CHECK(std::abs(static_cast<double>(of_all) - expected) <= tolerance);
  CHECK(of_all == ef::sum<float>({}, x, 0).tensor().item());
}

TEST_CASE("operands of different shapes are refused with both shapes", "[ops]") {
  const Context none{};
  const ef::Variable<double> a = Eigen::MatrixXd::Zero(2, 3), b = Eigen::MatrixXd::Zero(3, 2);
  CHECK_THROWS_WITH(ef::add(none, a, b),
                    "add: a is [2 x 3], b is [3 x 2], expected sizes that are equal or 1, from the last dimension on");
  CHECK_THROWS_AS(ef::subtract(none, a, b), ef::Error);
  CHECK_THROWS_AS(ef::multiply(none, a, b), ef::Error);
}

TEST_CASE("a reshaped matrix is the same entries, and so is its gradient", "[ops]") {
  ef::Rng rng(12);
  const auto x = ef::testing::random_matrix<double>(6, 4, rng);
  const ef::Variable<double> y = ef::reshape<double>({}, x, 8, 3);
  CHECK(y.value() == Eigen::Map<const ef::Matrix<double>>(x.data(), 8, 3));
  // A sum's gradient is that of both of its terms, in one memory: to what is reshaped more is added, to `a` it is not.
  ef::testing::check_op({x, x.reshaped<Eigen::RowMajor>(12, 2)},
                        [](const ef::Context<double>& c, const std::vector<ef::Variable<double>>& in) {
                          const ef::Variable<double> a = ef::multiply(c, in[1], in[1]);
                          const ef::Variable<double> square = ef::multiply(c, in[0], in[0]);
                          const ef::Variable<double> both = ef::add(c, a, ef::reshape(c, in[0], 12, 2));
                          return ef::add(c, both, ef::reshape(c, square, 12, 2));
                        });
  CHECK_THROWS_WITH(ef::reshape<double>({}, x, 5, 5), "reshape: x is [6 x 4], given [5 x 5]");
  CHECK_THROWS_WITH(ef::reshape<double>({}, x, -6, -4), "reshape: x is [6 x 4], given [-6 x -4]");
  CHECK_THROWS_WITH(y.reshaped(-6, -4), "Variable::reshaped: the value is [8 x 3], given [-6 x -4]");
  CHECK_THROWS_AS(y.reshaped({-6, -4}), ef::Error);
  CHECK_THROWS_AS(ef::reshape<double>({}, y, {-6, -4}), ef::Error);
  // A product of sizes that overflows to 0.
  const ef::Variable<double> none = ef::Matrix<double>(0, 4);
  const ef::Index many = ef::Index{1} << (sizeof(ef::Index) * 4);
  CHECK_THROWS_AS(none.reshaped(many, many), ef::Error);
  CHECK_THROWS_AS(ef::reshape<double>({}, none, many, many), ef::Error);
}
