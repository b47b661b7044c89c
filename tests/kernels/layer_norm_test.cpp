#include "eigenformer/kernels/layer_norm.hpp"

#include "kernels/kernel_checks.hpp"
#include "support/message_of.hpp"

namespace ef = eigenformer;
using ef::Index;
using ef::Matrix;
using namespace ef::testing;

namespace {

constexpr double layer_norm_epsilon = 1e-5;

struct NaiveLayerNorm {
  Matrix<double> y, mean, rstd;
};
NaiveLayerNorm naive_layer_norm(const Matrix<double>& x, const Matrix<double>& gain, const Matrix<double>& bias) {
  NaiveLayerNorm r{x, Matrix<double>(x.rows(), 1), Matrix<double>(x.rows(), 1)};
  const auto n = static_cast<double>(x.cols());
  for (Index i = 0; i < x.rows(); ++i) {
    double mean = 0;
    double variance = 0;
    for (Index j = 0; j < x.cols(); ++j) mean += x(i, j) / n;
    for (Index j = 0; j < x.cols(); ++j) variance += (x(i, j) - mean) * (x(i, j) - mean) / n;
    r.mean(i, 0) = mean;
    r.rstd(i, 0) = 1 / std::sqrt(variance + layer_norm_epsilon);
    for (Index j = 0; j < x.cols(); ++j) r.y(i, j) = (x(i, j) - mean) * r.rstd(i, 0) * gain(0, j) + bias(0, j);
  }
  return r;
}

template <class Scalar>
std::vector<Matrix<Scalar>> forward(const Matrix<Scalar>& x, const Matrix<Scalar>& gain, const Matrix<Scalar>& bias) {
  return run_every_way<Scalar>(
      {x, gain, bias}, {ef::shape(x), {x.rows(), 1}, {x.rows(), 1}}, [](auto& in, auto& out, ef::Threads* threads) {
        ef::layer_norm_forward<Scalar>({in[0], in[1], in[2]}, layer_norm_epsilon, {out[0], out[1], out[2]}, threads);
      });
}

template <class Scalar>
std::vector<Matrix<Scalar>> backward(const Matrix<Scalar>& x, const Matrix<Scalar>& gain,
                                     const std::vector<Matrix<Scalar>>& kept, const Matrix<Scalar>& d_y) {
  return run_every_way<Scalar>(
      {x, gain, kept[1], kept[2], d_y}, {ef::shape(x), {1, x.cols()}, {1, x.cols()}},
      [](auto& in, auto& out, ef::Threads* threads) {
        ef::layer_norm_backward<Scalar>({in[0], in[1], in[2], in[3]}, in[4], {out[0], out[1], out[2]}, threads);
      });
}

}  // namespace

TEMPLATE_TEST_CASE("layer_norm agrees with its definition", "[kernels][threads]", float, double) {
  const auto seed = GENERATE(61U, 62U);
  CAPTURE(seed);
  ef::Rng rng(seed);
  for (const ef::Shape& s : odd_shapes()) {
    CAPTURE(s.rows, s.cols);
    const auto x = random_matrix<TestType>(s.rows, s.cols, rng, 2);
    const auto gain = random_matrix<TestType>(1, s.cols, rng);
    const auto bias = random_matrix<TestType>(1, s.cols, rng);
    const auto given = forward<TestType>(x, gain, bias);
    const NaiveLayerNorm expected =
        naive_layer_norm(x.template cast<double>(), gain.template cast<double>(), bias.template cast<double>());
    // Two nearly equal entries have digits of their difference alone.
    const double lost = expected.rstd.maxCoeff() * x.cwiseAbs().maxCoeff();
    CHECK(max_error(given[0], expected.y) < tolerance<TestType>(8 + 4 * lost));
    CHECK(max_error(given[1], expected.mean) < tolerance<TestType>(4));
    CHECK(max_error(given[2], expected.rstd) < tolerance<TestType>(8 + 4 * lost));
    CHECK(identical<TestType>(ef::layer_norm(x, gain, bias), given[0]));
  }
}

TEST_CASE("layer_norm agrees with PyTorch", "[kernels]") {
  const Matrix<double> x{{1, 2, 4}, {-1, 0.5, 0.25}};
  const Eigen::RowVector3d gain(0.5, 1, 2);
  const Eigen::RowVector3d bias(0.1, -0.2, 0.3);
  const Matrix<double> y{{-0.43452076572514886, -0.46726038286257454, 2.9726038286257435},
                         {-0.5984925870213293, 0.6889905652998738, 1.31598921748557}};
  CHECK(max_error(ef::layer_norm(x, gain, bias), y) < 1e-15);
  const Eigen::MatrixXd by_columns = x;
  CHECK(max_error(ef::layer_norm(2 * by_columns, gain, bias, 4e-5), y) < 1e-15);
}

TEMPLATE_TEST_CASE("layer_norm of extreme rows", "[kernels][threads]", float, double) {
  const Matrix<TestType> gain = Matrix<TestType>::Ones(1, 4);
  const Matrix<TestType> bias = Matrix<TestType>::Zero(1, 4);
  Matrix<TestType> x(3, 4);
  x << 10001, 9999, 10001, 9999,  // a variance from mean(x^2) - mean(x)^2 would be noise in float
      5, 5, 5, 5,                 //
      1e15F, -1e15F, 1e15F, -1e15F;
  const auto one = static_cast<TestType>(1 / std::sqrt(1 + layer_norm_epsilon));
  Matrix<TestType> y(3, 4);
  y << one, -one, one, -one, 0, 0, 0, 0, 1, -1, 1, -1;
  CHECK(max_error(ef::layer_norm(x, gain, bias), y) < tolerance<TestType>(4));

  const Matrix<TestType> no_rows(0, 4);
  CHECK(ef::layer_norm(no_rows, gain, bias).rows() == 0);
  const auto d = backward<TestType>(no_rows, gain, forward<TestType>(no_rows, gain, bias), no_rows);
  CHECK((d[1].array() == TestType(0)).all());
  CHECK((d[2].array() == TestType(0)).all());
}

TEMPLATE_TEST_CASE("a row's layer_norm does not depend on where it lies", "[kernels]", float, double) {
  ef::Rng rng(71);
  const auto x = random_matrix<TestType>(3, 37, rng);
  const auto gain = random_matrix<TestType>(1, 37, rng);
  const auto bias = random_matrix<TestType>(1, 37, rng);
  for (const Index before : {1, 2, 3, 5})
    CHECK(identical<TestType>(ef::layer_norm(with_rows_before(x, before), gain, bias).bottomRows(3),
                              ef::layer_norm(x, gain, bias)));
}

TEST_CASE("the derivatives of layer_norm agree with differences", "[kernels][threads]") {
  ef::Rng rng(81);
  for (const Index features : {1, 2, 7, 17, 64}) {
    CAPTURE(features);
    const auto x = random_matrix<double>(5, features, rng);
    const auto gain = random_matrix<double>(1, features, rng);
    const auto bias = random_matrix<double>(1, features, rng);
    const auto d_y = random_matrix<double>(5, features, rng);
    const auto d = backward<double>(x, gain, forward<double>(x, gain, bias), d_y);
    CHECK(max_error(d[0], numeric_gradient(x, [&](const auto& v) { return dot(ef::layer_norm(v, gain, bias), d_y); })) <
          gradient_tolerance);
    CHECK(max_error(d[1], numeric_gradient(gain, [&](const auto& v) { return dot(ef::layer_norm(x, v, bias), d_y); })) <
          gradient_tolerance);
    CHECK(max_error(d[2], numeric_gradient(bias, [&](const auto& v) { return dot(ef::layer_norm(x, gain, v), d_y); })) <
          gradient_tolerance);
  }
}

TEMPLATE_TEST_CASE("the derivatives of layer_norm are the same every way", "[kernels][threads]", float, double) {
  ef::Rng rng(91);
  for (const ef::Shape& s : {ef::Shape{3, 33}, {700, 50}, {5000, 17}, {3, 20000}}) {
    CAPTURE(s.rows, s.cols);
    const auto x = random_matrix<TestType>(s.rows, s.cols, rng);
    const auto gain = random_matrix<TestType>(1, s.cols, rng);
    const auto bias = random_matrix<TestType>(1, s.cols, rng);
    const auto d_y = random_matrix<TestType>(s.rows, s.cols, rng);
    const auto d = backward<TestType>(x, gain, forward<TestType>(x, gain, bias), d_y);
    const NaiveLayerNorm naive =
        naive_layer_norm(x.template cast<double>(), Matrix<double>::Ones(1, s.cols), Matrix<double>::Zero(1, s.cols));
    const Matrix<double> d_y_exact = d_y.template cast<double>();
    const Matrix<double> d_gain = naive.y.cwiseProduct(d_y_exact).colwise().sum();
    const Matrix<double> d_bias = d_y_exact.colwise().sum();
    const auto rows = static_cast<double>(s.rows);
    CHECK(max_error(d[1], d_gain) < tolerance<TestType>(32 + rows / 8));
    CHECK(max_error(d[2], d_bias) < tolerance<TestType>(32 + rows / 8));
    const Matrix<double> d_z = d_y_exact.array().rowwise() * gain.row(0).template cast<double>().array();
    Matrix<double> d_x(s.rows, s.cols);
    for (Index i = 0; i < s.rows; ++i) {
      const double mean = d_z.row(i).mean();
      const double mean_z = d_z.row(i).cwiseProduct(naive.y.row(i)).mean();
      d_x.row(i) = naive.rstd(i, 0) * (d_z.row(i).array() - mean - naive.y.row(i).array() * mean_z);
    }
    CHECK(max_error(d[0], d_x) < tolerance<TestType>(64));
  }
}

TEST_CASE("layer_norm may work in place", "[kernels][threads]") {
  ef::Rng rng(95);
  const auto x = random_matrix<float>(4, 33, rng);
  const auto gain = random_matrix<float>(1, 33, rng);
  const auto d_y = random_matrix<float>(4, 33, rng);
  const auto kept = forward<float>(x, gain, gain);
  Matrix<float> y = x;
  Matrix<float> mean(4, 1);
  Matrix<float> rstd(4, 1);
  ef::layer_norm_forward<float>({y, gain, gain}, layer_norm_epsilon, {y, mean, rstd});
  CHECK(identical<float>(y, kept[0]));
  Matrix<float> d_x = d_y;
  Matrix<float> d_gain(1, 33);
  Matrix<float> d_bias(1, 33);
  ef::layer_norm_backward<float>({x, gain, mean, rstd}, d_x, {d_x, d_gain, d_bias});
  CHECK(identical<float>(d_x, backward<float>(x, gain, kept, d_y)[0]));
}

TEST_CASE("layer_norm names what does not fit", "[kernels]") {
  const Matrix<float> x = Matrix<float>::Ones(2, 3);
  const Matrix<float> row = Matrix<float>::Ones(1, 3);
  const Matrix<float> long_row = Matrix<float>::Ones(1, 4);
  Matrix<float> y(2, 3);
  Matrix<float> s(2, 1);
  Matrix<float> t(2, 1);
  Matrix<float> d_row(1, 3);
  Matrix<float> d_long(1, 4);
  CHECK(message_of([&] { ef::layer_norm(x, long_row, row); }) == "layer_norm: gain is [1 x 4], expected [1 x 3]");
  CHECK(message_of([&] { ef::layer_norm(x, row, long_row); }) == "layer_norm: bias is [1 x 4], expected [1 x 3]");
  CHECK(message_of([&] { ef::layer_norm(x, row, row, -1); }) == "layer_norm: epsilon is -1, expected 0 or more");
  CHECK(message_of([&] {
          ef::layer_norm_forward<float>({x, row, row}, 0, {d_long, s, t});
        }) == "layer_norm: y is [1 x 4], expected [2 x 3]");
  CHECK(message_of([&] {
          ef::layer_norm_forward<float>({x, row, row}, 0, {y, y, t});
        }) == "layer_norm: mean is [2 x 3], expected [2 x 1]");
  CHECK(message_of([&] {
          ef::layer_norm_forward<float>({x, row, row}, 0, {y, s, y});
        }) == "layer_norm: rstd is [2 x 3], expected [2 x 1]");
  const auto back = [&](const auto& gain, const auto& mean, const auto& rstd, const auto& d_y, auto& d_x, auto& d_gain,
                        auto& d_bias) {
    return message_of([&] { ef::layer_norm_backward<float>({x, gain, mean, rstd}, d_y, {d_x, d_gain, d_bias}); });
  };
  CHECK(back(long_row, s, t, x, y, d_row, d_row) == "layer_norm: gain is [1 x 4], expected [1 x 3]");
  CHECK(back(row, row, t, x, y, d_row, d_row) == "layer_norm: mean is [1 x 3], expected [2 x 1]");
  CHECK(back(row, s, row, x, y, d_row, d_row) == "layer_norm: rstd is [1 x 3], expected [2 x 1]");
  CHECK(back(row, s, t, row, y, d_row, d_row) == "layer_norm: d_y is [1 x 3], expected [2 x 3]");
  CHECK(back(row, s, t, x, d_row, d_row, d_row) == "layer_norm: d_x is [1 x 3], expected [2 x 3]");
  CHECK(back(row, s, t, x, y, d_long, d_row) == "layer_norm: d_gain is [1 x 4], expected [1 x 3]");
  CHECK(back(row, s, t, x, y, d_row, d_long) == "layer_norm: d_bias is [1 x 4], expected [1 x 3]");
}

TEMPLATE_TEST_CASE("a sum and its norm in one are the norm of the sum, to the last bit", "[kernels][threads]", float,
                   double) {
  ef::Rng rng(231);
  for (const ef::Shape& s : odd_shapes()) {
    CAPTURE(s.rows, s.cols);
    const auto a = random_matrix<TestType>(s.rows, s.cols, rng), b = random_matrix<TestType>(s.rows, s.cols, rng);
    const auto gain = random_matrix<TestType>(1, s.cols, rng), bias = random_matrix<TestType>(1, s.cols, rng);
    const Matrix<TestType> sum = a + b;
    Matrix<TestType> y(s.rows, s.cols), mean(s.rows, 1), rstd(s.rows, 1);
    ef::layer_norm_forward<TestType>({sum, gain, bias}, 1e-5, {y, mean, rstd});
    const auto given = run_every_way<TestType>(
        {a, b, gain, bias}, {s, s, {s.rows, 1}, {s.rows, 1}}, [&](auto& in, auto& out, ef::Threads* threads) {
          ef::add_layer_norm_forward<TestType>({in[0], in[1], in[2], in[3]}, 1e-5, out[0], {out[1], out[2], out[3]},
                                               threads);
        });
    CHECK(identical<TestType>(given[0], sum));
    CHECK(identical<TestType>(given[1], y));
    CHECK(identical<TestType>(given[2], mean));
    CHECK(identical<TestType>(given[3], rstd));
    Matrix<TestType> in_place(s.rows, s.cols);
    ef::add_layer_norm_forward<TestType>({a, b, gain, bias}, 1e-5, in_place, {in_place, mean, rstd});
    CHECK(identical<TestType>(in_place, y));
  }
  const Matrix<float> x(2, 3), wrong(3, 2);
  Matrix<float> row = Matrix<float>::Ones(1, 3), y(2, 3), column(2, 1);
  CHECK(message_of([&] {
          ef::add_layer_norm_forward<float>({x, wrong, row, row}, 1e-5, y, {y, column, column});
        }) == "add_layer_norm: b is [3 x 2], expected [2 x 3]");
}
