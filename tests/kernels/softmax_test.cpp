#include "eigenformer/kernels/softmax.hpp"

#include "kernels/kernel_checks.hpp"
#include "support/message_of.hpp"

namespace ef = eigenformer;
using ef::Index;
using ef::Matrix;
using namespace ef::testing;

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

Matrix<double> naive_softmax(const Matrix<double>& x, bool logarithm) {
  Matrix<double> y(x.rows(), x.cols());
  for (Index i = 0; i < x.rows(); ++i) {
    double largest = -infinity;
    for (Index j = 0; j < x.cols(); ++j) largest = std::max(largest, x(i, j));
    double sum = 0;
    for (Index j = 0; j < x.cols(); ++j) sum += std::exp(x(i, j) - largest);
    for (Index j = 0; j < x.cols(); ++j)
      y(i, j) = logarithm ? x(i, j) - largest - std::log(sum) : std::exp(x(i, j) - largest) / sum;
  }
  return y;
}

}  // namespace

TEMPLATE_TEST_CASE("softmax and log_softmax agree with their definition", "[kernels][threads]", float, double) {
  const auto seed = GENERATE(11U, 12U);
  CAPTURE(seed);
  ef::Rng rng(seed);
  for (const ef::Shape& s : odd_shapes()) {
    CAPTURE(s.rows, s.cols);
    const auto x = random_matrix<TestType>(s.rows, s.cols, rng, 3);
    const auto softmax = run_every_way<TestType>({x}, {s}, [](auto& in, auto& out, ef::Threads* threads) {
      ef::softmax_forward<TestType>(in[0], out[0], threads);
    })[0];
    CHECK(max_error(softmax, naive_softmax(x.template cast<double>(), false)) < tolerance<TestType>(8));
    const auto logarithm = run_every_way<TestType>({x}, {s}, [](auto& in, auto& out, ef::Threads* threads) {
      ef::log_softmax_forward<TestType>(in[0], out[0], threads);
    })[0];
    CHECK(max_error(logarithm, naive_softmax(x.template cast<double>(), true)) < tolerance<TestType>(8));
    CHECK(identical<TestType>(ef::softmax(x), softmax));
    CHECK(identical<TestType>(ef::log_softmax(x), logarithm));
  }
}

TEST_CASE("softmax and log_softmax agree with PyTorch", "[kernels]") {
  const Matrix<double> x{{1, 2, 4}, {-1, 0.5, 0.25}};
  const Matrix<double> y{{0.04201006613406605, 0.11419519938459449, 0.8437947344813395},
                         {0.11145747105020273, 0.4995177298132149, 0.3890247991365822}};
  const Matrix<double> log_y{{-3.1698460195562856, -2.1698460195562856, -0.16984601955628567},
                             {-2.1941121864019144, -0.6941121864019144, -0.9441121864019144}};
  CHECK(max_error(ef::softmax(x), y) < 1e-15);
  CHECK(max_error(ef::log_softmax(x), log_y) < 1e-15);
}

TEMPLATE_TEST_CASE("softmax of extreme rows", "[kernels]", float, double) {
  const auto inf = static_cast<TestType>(infinity);
  Matrix<TestType> x(4, 3);
  x << 1e4F, 1e4F, -1e4F,  //
      -inf, 2, -inf,       //
      -inf, -inf, -inf,    //
      -1e4F, -1e4F, -1e4F;
  Matrix<TestType> y(4, 3);
  y << 0.5F, 0.5F, 0, 0, 1, 0, 0, 0, 0, TestType(1) / 3, TestType(1) / 3, TestType(1) / 3;
  CHECK(max_error(ef::softmax(x), y) < tolerance<TestType>(2));
  CHECK((ef::softmax(x).row(2).array() == TestType(0)).all());
  Matrix<TestType> log_y = y.array().log();
  log_y(0, 2) = TestType(-2e4 - std::log(2.0));
  CHECK(max_error(ef::log_softmax(x), log_y) < tolerance<TestType>(2));

  // Who sees nothing passes nothing on.
  const Matrix<TestType> d_y = Matrix<TestType>::Constant(4, 3, 5);
  Matrix<TestType> d_x = Matrix<TestType>::Constant(4, 3, 99);
  ef::softmax_backward<TestType>(ef::softmax(x), d_y, d_x);
  CHECK((d_x.row(2).array() == TestType(0)).all());
  CHECK(d_x.allFinite());
  ef::log_softmax_backward<TestType>(ef::log_softmax(x), d_y, d_x);
  CHECK((d_x.row(2).array() == TestType(0)).all());
  CHECK(identical<TestType>(d_x.row(1), Matrix<TestType>{{5, -10, 5}}));
  CHECK(d_x.allFinite());

  // A NaN stays in its row and fills it.
  for (const Index at : {0, 1, 36}) {
    Matrix<TestType> with_nan = Matrix<TestType>::Constant(2, 37, -inf);
    with_nan(0, at) = std::numeric_limits<TestType>::quiet_NaN();
    CHECK(ef::softmax(with_nan).row(0).array().isNaN().all());
    CHECK((ef::softmax(with_nan).row(1).array() == TestType(0)).all());
    CHECK(ef::log_softmax(with_nan).row(0).array().isNaN().any());
  }
  CHECK(ef::softmax(Matrix<TestType>(0, 5)).rows() == 0);
  CHECK(ef::softmax(Matrix<TestType>(5, 0)).cols() == 0);
  CHECK(ef::log_softmax(Matrix<TestType>(5, 0)).cols() == 0);

  // A row of many: the sum of 300,000 equal terms.
  const Matrix<TestType> many = Matrix<TestType>::Zero(1, 300000);
  CHECK(std::abs(static_cast<double>(ef::softmax(many)(0, 7)) * 300000 - 1) < tolerance<TestType>(4));
}

TEMPLATE_TEST_CASE("a row's softmax does not depend on where it lies", "[kernels]", float, double) {
  ef::Rng rng(21);
  for (const Index cols : {3, 17, 100}) {
    const auto x = random_matrix<TestType>(4, cols, rng);
    for (const Index before : {1, 2, 3, 5}) {
      CHECK(identical<TestType>(ef::softmax(with_rows_before(x, before)).bottomRows(4), ef::softmax(x)));
      CHECK(identical<TestType>(ef::log_softmax(with_rows_before(x, before)).bottomRows(4), ef::log_softmax(x)));
    }
  }
}

TEMPLATE_TEST_CASE("softmax takes any Eigen matrix, and may work in place", "[kernels]", float, double) {
  ef::Rng rng(31);
  const auto x = random_matrix<TestType>(5, 7, rng);
  const Matrix<TestType> y = ef::softmax(x);
  const Eigen::Matrix<TestType, Eigen::Dynamic, Eigen::Dynamic> by_columns = x;
  const Eigen::Matrix<TestType, 5, 7> fixed = x;
  CHECK(identical<TestType>(ef::softmax(by_columns), y));
  CHECK(identical<TestType>(ef::softmax(fixed), y));
  CHECK(identical<TestType>(ef::softmax(by_columns.transpose().transpose()), y));
  CHECK(identical<TestType>(ef::softmax(x + Matrix<TestType>::Zero(5, 7)), y));
  CHECK(identical<TestType>(ef::softmax(by_columns.block(1, 2, 3, 4)), ef::softmax(x.block(1, 2, 3, 4))));
  CHECK(identical<TestType>(ef::softmax(by_columns.col(2)), Matrix<TestType>::Ones(5, 1)));
  CHECK(identical<TestType>(ef::softmax(x.row(2)), y.row(2)));
  const Eigen::Matrix<TestType, Eigen::Dynamic, 1> vector = x.row(3);
  CHECK(identical<TestType>(ef::softmax(vector.transpose()), y.row(3)));
  CHECK(identical<TestType>(ef::softmax(vector), Matrix<TestType>::Ones(7, 1)));

  Matrix<TestType> in_place = x;
  ef::softmax_forward<TestType>(in_place, in_place);
  CHECK(identical<TestType>(in_place, y));
  const auto d_y = random_matrix<TestType>(5, 7, rng);
  Matrix<TestType> d_x(5, 7);
  ef::softmax_backward<TestType>(y, d_y, d_x);
  in_place = d_y;
  ef::softmax_backward<TestType>(y, in_place, in_place);
  CHECK(identical<TestType>(in_place, d_x));
  ef::log_softmax_backward<TestType>(y, d_y, d_x);
  in_place = d_y;
  ef::log_softmax_backward<TestType>(y, in_place, in_place);
  CHECK(identical<TestType>(in_place, d_x));
}

TEST_CASE("the derivatives of softmax and log_softmax agree with differences", "[kernels][threads]") {
  ef::Rng rng(41);
  for (const Index cols : {1, 2, 7, 17, 64}) {
    CAPTURE(cols);
    const auto x = random_matrix<double>(3, cols, rng);
    const auto d_y = random_matrix<double>(3, cols, rng);
    const auto d_x = run_every_way<double>({ef::softmax(x), d_y}, {{3, cols}}, [](auto& in, auto& out, auto* threads) {
      ef::softmax_backward<double>(in[0], in[1], out[0], threads);
    })[0];
    CHECK(max_error(d_x, numeric_gradient(x, [&](const auto& v) { return dot(ef::softmax(v), d_y); })) <
          gradient_tolerance);
    const auto log_d_x = run_every_way<double>(
        {ef::log_softmax(x), d_y}, {{3, cols}},
        [](auto& in, auto& out, auto* threads) { ef::log_softmax_backward<double>(in[0], in[1], out[0], threads); })[0];
    CHECK(max_error(log_d_x, numeric_gradient(x, [&](const auto& v) { return dot(ef::log_softmax(v), d_y); })) <
          gradient_tolerance);
  }
}

TEMPLATE_TEST_CASE("the derivatives of softmax are the same every way", "[kernels][threads]", float, double) {
  ef::Rng rng(51);
  for (const ef::Shape& s : odd_shapes()) {
    CAPTURE(s.rows, s.cols);
    const Matrix<TestType> y = ef::softmax(random_matrix<TestType>(s.rows, s.cols, rng));
    const auto d_y = random_matrix<TestType>(s.rows, s.cols, rng);
    const auto d_x = run_every_way<TestType>({y, d_y}, {s}, [](auto& in, auto& out, auto* threads) {
      ef::softmax_backward<TestType>(in[0], in[1], out[0], threads);
    })[0];
    const Matrix<double> p = y.template cast<double>();
    const Matrix<double> d = d_y.template cast<double>();
    const Eigen::VectorXd mean = p.cwiseProduct(d).rowwise().sum();
    CHECK(max_error(d_x, p.cwiseProduct(d.colwise() - mean)) < tolerance<TestType>(8));
    const Matrix<TestType> log_y = y.array().log();
    const auto log_d_x = run_every_way<TestType>({log_y, d_y}, {s}, [](auto& in, auto& out, auto* threads) {
      ef::log_softmax_backward<TestType>(in[0], in[1], out[0], threads);
    })[0];
    const Eigen::VectorXd sum = d.rowwise().sum();
    CHECK(max_error(log_d_x, d - (p.array().colwise() * sum.array()).matrix()) < tolerance<TestType>(32));
  }
}

TEST_CASE("softmax names what does not fit", "[kernels]") {
  const Matrix<float> x(2, 3);
  Matrix<float> y(2, 4);
  Matrix<float> fits(2, 3);
  CHECK(message_of([&] { ef::softmax_forward<float>(x, y); }) == "softmax: y is [2 x 4], expected [2 x 3]");
  CHECK(message_of([&] { ef::softmax_backward<float>(x, y, fits); }) == "softmax: d_y is [2 x 4], expected [2 x 3]");
  CHECK(message_of([&] { ef::softmax_backward<float>(x, x, y); }) == "softmax: d_x is [2 x 4], expected [2 x 3]");
  CHECK(message_of([&] { ef::log_softmax_forward<float>(x, y); }) == "log_softmax: y is [2 x 4], expected [2 x 3]");
  CHECK(message_of([&] { ef::log_softmax_backward<float>(x, y, fits); }) ==
        "log_softmax: d_y is [2 x 4], expected [2 x 3]");
  CHECK(message_of([&] { ef::log_softmax_backward<float>(x, x, y); }) ==
        "log_softmax: d_x is [2 x 4], expected [2 x 3]");
}
