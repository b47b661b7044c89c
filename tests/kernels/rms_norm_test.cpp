#include "eigenformer/kernels/rms_norm.hpp"

#include "kernels/kernel_checks.hpp"
#include "support/message_of.hpp"

namespace ef = eigenformer;
using ef::Index;
using ef::Matrix;
using namespace ef::testing;

namespace {

constexpr double rms_norm_epsilon = 1e-5;

struct NaiveRmsNorm {
  Matrix<double> y, rrms;
};
NaiveRmsNorm naive_rms_norm(const Matrix<double>& x, const Matrix<double>& gain) {
  NaiveRmsNorm r{x, Matrix<double>(x.rows(), 1)};
  for (Index i = 0; i < x.rows(); ++i) {
    double squares = 0;
    for (Index j = 0; j < x.cols(); ++j) squares += x(i, j) * x(i, j);
    r.rrms(i, 0) = 1 / std::sqrt(squares / static_cast<double>(x.cols()) + rms_norm_epsilon);
    for (Index j = 0; j < x.cols(); ++j) r.y(i, j) = x(i, j) * r.rrms(i, 0) * gain(0, j);
  }
  return r;
}

template <class Scalar>
std::vector<Matrix<Scalar>> forward(const Matrix<Scalar>& x, const Matrix<Scalar>& gain) {
  return run_every_way<Scalar>({x, gain}, {ef::shape(x), {x.rows(), 1}}, [](auto& in, auto& out, ef::Threads* threads) {
    ef::rms_norm_forward<Scalar>(in[0], in[1], rms_norm_epsilon, out[0], out[1], threads);
  });
}

template <class Scalar>
std::vector<Matrix<Scalar>> backward(const Matrix<Scalar>& x, const Matrix<Scalar>& gain, const Matrix<Scalar>& rrms,
                                     const Matrix<Scalar>& d_y) {
  return run_every_way<Scalar>({x, gain, rrms, d_y}, {ef::shape(x), {1, x.cols()}},
                               [](auto& in, auto& out, ef::Threads* threads) {
                                 ef::rms_norm_backward<Scalar>({in[0], in[1], in[2]}, in[3], {out[0], out[1]}, threads);
                               });
}

}  // namespace

TEMPLATE_TEST_CASE("rms_norm agrees with its definition", "[kernels][threads]", float, double) {
  const auto seed = GENERATE(101U, 102U);
  CAPTURE(seed);
  ef::Rng rng(seed);
  for (const ef::Shape& s : odd_shapes()) {
    CAPTURE(s.rows, s.cols);
    const auto x = random_matrix<TestType>(s.rows, s.cols, rng, 2);
    const auto gain = random_matrix<TestType>(1, s.cols, rng);
    const auto given = forward<TestType>(x, gain);
    const NaiveRmsNorm expected = naive_rms_norm(x.template cast<double>(), gain.template cast<double>());
    CHECK(max_error(given[0], expected.y) < tolerance<TestType>(8));
    CHECK(max_error(given[1], expected.rrms) < tolerance<TestType>(8));
    CHECK(identical<TestType>(ef::rms_norm(x, gain, rms_norm_epsilon), given[0]));
    CHECK(identical<TestType>(ef::rms_norm(with_rows_before(x, 3), gain).bottomRows(s.rows), given[0]));
  }
}

TEST_CASE("rms_norm agrees with PyTorch", "[kernels]") {
  const Matrix<double> x{{1, 2, 4}, {-1, 0.5, 0.25}};
  const Eigen::RowVector3d gain(0.5, 1, 2);
  const Matrix<double> y{{0.18898222300588385, 0.7559288920235354, 3.0237155680941417},
                         {-0.75592808210114, 0.75592808210114, 0.75592808210114}};
  CHECK(max_error(ef::rms_norm(x, gain, 1e-6), y) < 1e-15);
  const Eigen::MatrixXd by_columns = x;
  CHECK(max_error(ef::rms_norm(2 * by_columns, gain, 4e-6), y) < 1e-15);
}

TEMPLATE_TEST_CASE("rms_norm of extreme rows", "[kernels][threads]", float, double) {
  const Matrix<TestType> gain = Matrix<TestType>::Constant(1, 4, 2);
  Matrix<TestType> x(3, 4);
  x << 1e4F, -1e4F, 1e4F, -1e4F, 0, 0, 0, 0, 1e15F, -1e15F, 1e15F, -1e15F;
  Matrix<TestType> y(3, 4);
  y << 2, -2, 2, -2, 0, 0, 0, 0, 2, -2, 2, -2;
  CHECK(max_error(ef::rms_norm(x, gain), y) < tolerance<TestType>(4));

  const Matrix<TestType> no_rows(0, 4);
  CHECK(ef::rms_norm(no_rows, gain).rows() == 0);
  const auto d = backward<TestType>(no_rows, gain, forward<TestType>(no_rows, gain)[1], no_rows);
  CHECK((d[1].array() == TestType(0)).all());
}

TEST_CASE("the derivatives of rms_norm agree with differences", "[kernels][threads]") {
  ef::Rng rng(111);
  for (const Index features : {1, 2, 7, 17, 64}) {
    CAPTURE(features);
    const auto x = random_matrix<double>(5, features, rng);
    const auto gain = random_matrix<double>(1, features, rng);
    const auto d_y = random_matrix<double>(5, features, rng);
    const auto d = backward<double>(x, gain, forward<double>(x, gain)[1], d_y);
    CHECK(max_error(d[0], numeric_gradient(x, [&](const auto& v) { return dot(ef::rms_norm(v, gain), d_y); })) <
          gradient_tolerance);
    CHECK(max_error(d[1], numeric_gradient(gain, [&](const auto& v) { return dot(ef::rms_norm(x, v), d_y); })) <
          gradient_tolerance);
  }
}

TEMPLATE_TEST_CASE("the derivatives of rms_norm are the same every way", "[kernels][threads]", float, double) {
  ef::Rng rng(121);
  for (const ef::Shape& s : {ef::Shape{3, 33}, {700, 50}, {5000, 17}, {3, 20000}}) {
    CAPTURE(s.rows, s.cols);
    const auto x = random_matrix<TestType>(s.rows, s.cols, rng);
    const auto gain = random_matrix<TestType>(1, s.cols, rng);
    const auto d_y = random_matrix<TestType>(s.rows, s.cols, rng);
    const auto d = backward<TestType>(x, gain, forward<TestType>(x, gain)[1], d_y);
    const NaiveRmsNorm naive = naive_rms_norm(x.template cast<double>(), Matrix<double>::Ones(1, s.cols));
    const Matrix<double> d_y_exact = d_y.template cast<double>();
    const Matrix<double> d_gain = naive.y.cwiseProduct(d_y_exact).colwise().sum();
    CHECK(max_error(d[1], d_gain) < tolerance<TestType>(32 + static_cast<double>(s.rows) / 8));
    const Matrix<double> d_z = d_y_exact.array().rowwise() * gain.row(0).template cast<double>().array();
    Matrix<double> d_x(s.rows, s.cols);
    for (Index i = 0; i < s.rows; ++i) {
      const double mean_z = d_z.row(i).cwiseProduct(naive.y.row(i)).mean();
      d_x.row(i) = naive.rrms(i, 0) * (d_z.row(i).array() - naive.y.row(i).array() * mean_z);
    }
    CHECK(max_error(d[0], d_x) < tolerance<TestType>(64));
  }
}

TEST_CASE("rms_norm may work in place", "[kernels][threads]") {
  ef::Rng rng(125);
  const auto x = random_matrix<float>(4, 33, rng);
  const auto gain = random_matrix<float>(1, 33, rng);
  const auto d_y = random_matrix<float>(4, 33, rng);
  const auto kept = forward<float>(x, gain);
  Matrix<float> y = x;
  Matrix<float> rrms(4, 1);
  ef::rms_norm_forward<float>(y, gain, rms_norm_epsilon, y, rrms);
  CHECK(identical<float>(y, kept[0]));
  Matrix<float> d_x = d_y;
  Matrix<float> d_gain(1, 33);
  ef::rms_norm_backward<float>({x, gain, rrms}, d_x, {d_x, d_gain});
  CHECK(identical<float>(d_x, backward<float>(x, gain, kept[1], d_y)[0]));
}

TEST_CASE("rms_norm names what does not fit", "[kernels]") {
  const Matrix<float> x = Matrix<float>::Ones(2, 3);
  const Matrix<float> row = Matrix<float>::Ones(1, 3);
  const Matrix<float> long_row = Matrix<float>::Ones(1, 4);
  Matrix<float> y(2, 3);
  Matrix<float> s(2, 1);
  Matrix<float> d_row(1, 3);
  Matrix<float> d_long(1, 4);
  CHECK(message_of([&] { ef::rms_norm(x, long_row); }) == "rms_norm: gain is [1 x 4], expected [1 x 3]");
  CHECK(message_of([&] { ef::rms_norm(x, row, -1); }) == "rms_norm: epsilon is -1, expected 0 or more");
  CHECK(message_of([&] { ef::rms_norm_forward<float>(x, row, 0, d_long, s); }) ==
        "rms_norm: y is [1 x 4], expected [2 x 3]");
  CHECK(message_of([&] { ef::rms_norm_forward<float>(x, row, 0, y, y); }) ==
        "rms_norm: rrms is [2 x 3], expected [2 x 1]");
  const auto back = [&](const auto& gain, const auto& rrms, const auto& d_y, auto& d_x, auto& d_gain) {
    return message_of([&] { ef::rms_norm_backward<float>({x, gain, rrms}, d_y, {d_x, d_gain}); });
  };
  CHECK(back(long_row, s, x, y, d_row) == "rms_norm: gain is [1 x 4], expected [1 x 3]");
  CHECK(back(row, row, x, y, d_row) == "rms_norm: rrms is [1 x 3], expected [2 x 1]");
  CHECK(back(row, s, row, y, d_row) == "rms_norm: d_y is [1 x 3], expected [2 x 3]");
  CHECK(back(row, s, x, d_row, d_row) == "rms_norm: d_x is [1 x 3], expected [2 x 3]");
  CHECK(back(row, s, x, y, d_long) == "rms_norm: d_gain is [1 x 4], expected [1 x 3]");
}
