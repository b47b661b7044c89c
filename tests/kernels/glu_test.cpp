#include "eigenformer/kernels/glu.hpp"

#include "kernels/kernel_checks.hpp"
#include "support/message_of.hpp"

namespace ef = eigenformer;
using ef::Index;
using ef::Matrix;
using namespace ef::testing;

namespace {

double gate(double x) {
  return 1 / (1 + std::exp(-x));
}

template <class Scalar>
Matrix<Scalar> forward(const Matrix<Scalar>& x) {
  return run_every_way<Scalar>({x}, {{x.rows(), x.cols() / 2}}, [](auto& in, auto& out, ef::Threads* threads) {
    ef::glu_forward<Scalar>(in[0], out[0], threads);
  })[0];
}

}  // namespace

TEMPLATE_TEST_CASE("the gated linear unit agrees with its definition", "[kernels][threads]", float, double) {
  const std::uint64_t seed = 311;
  CAPTURE(seed);
  ef::Rng rng(seed);
  for (const ef::Shape& s : odd_shapes()) {
    CAPTURE(s.rows, s.cols);
    const auto x = random_matrix<TestType>(s.rows, 2 * s.cols, rng, 2);
    const auto d_y = random_matrix<TestType>(s.rows, s.cols, rng);
    const Matrix<TestType> y = forward<TestType>(x);
    const Matrix<TestType> d_x =
        run_every_way<TestType>({x, d_y}, {ef::shape(x)}, [](auto& in, auto& out, ef::Threads* threads) {
          ef::glu_backward<TestType>(in[0], in[1], out[0], threads);
        })[0];
    Matrix<double> expected(s.rows, s.cols), d_expected(s.rows, 2 * s.cols);
    for (Index i = 0; i < s.rows; ++i)
      for (Index j = 0; j < s.cols; ++j) {
        const auto a = static_cast<double>(x(i, j)), g = gate(static_cast<double>(x(i, s.cols + j)));
        const auto d = static_cast<double>(d_y(i, j));
        expected(i, j) = a * g;
        d_expected(i, j) = d * g;
        d_expected(i, s.cols + j) = d * a * g * (1 - g);
      }
    CHECK(max_error(y, expected) < tolerance<TestType>(8));
    CHECK(max_error(d_x, d_expected) < tolerance<TestType>(8));
    CHECK(identical<TestType>(ef::glu(x), y));
    CHECK(identical<TestType>(ef::glu(with_rows_before(x, 3)).bottomRows(s.rows), y));
  }
}

TEST_CASE("a gate is shut or open where its input is far out", "[kernels]") {
  const float infinity = std::numeric_limits<float>::infinity();
  const Matrix<float> x{{3, 3, 3, 3, -infinity, -1000, 1000, infinity}};
  const Matrix<float> y{{0, 0, 3, 3}};
  CHECK(identical<float>(ef::glu(x), y));
  const Eigen::MatrixXf by_columns = x;
  CHECK(identical<float>(ef::glu(by_columns), y));
  CHECK(ef::glu(Matrix<float>(0, 6)).cols() == 3);
}

TEST_CASE("a gated linear unit that cannot be is refused", "[kernels]") {
  Matrix<float> y(2, 2), d_x(2, 5);
  const Matrix<float> odd(2, 5), x(2, 6);
  CHECK(message_of([&] { ef::glu(odd); }) == "glu: x is [2 x 5], expected an even number of columns");
  CHECK(message_of([&] { ef::glu_forward<float>(x, y); }) == "glu: y is [2 x 2], expected [2 x 3]");
  CHECK(message_of([&] { ef::glu_backward<float>(x, y, d_x); }) == "glu: d_y is [2 x 2], expected [2 x 3]");
  CHECK(message_of([&] { ef::glu_backward<float>(x, Matrix<float>(2, 3), d_x); }) ==
        "glu: d_x is [2 x 5], expected [2 x 6]");
}
