#include "eigenformer/kernels/activations.hpp"

#include <functional>
#include <string>

#include "kernels/kernel_checks.hpp"
#include "support/message_of.hpp"

namespace ef = eigenformer;
using ef::Activation;
using ef::Index;
using ef::Matrix;
using namespace ef::testing;

namespace {

constexpr double pi = 3.14159265358979323846;

/// A function as it is defined, and the library's.
template <class Scalar>
struct Function {
  std::string name;
  std::function<double(double)> definition;
  std::function<double(double)> derivative;
  void (*forward)(const ef::ConstMatrixRef<Scalar>&, ef::MatrixRef<Scalar>, ef::Threads*);
  void (*backward)(const ef::ConstMatrixRef<Scalar>&, const ef::ConstMatrixRef<Scalar>&, ef::MatrixRef<Scalar>,
                   ef::Threads*);
  Matrix<Scalar> (*convenience)(const Eigen::MatrixBase<Matrix<Scalar>>&, ef::Threads*);
};

double logistic(double x) {
  return 1 / (1 + std::exp(-x));
}
double normal(double x) {
  return std::erfc(-x / std::sqrt(2.0)) / 2;
}

template <class Scalar>
std::vector<Function<Scalar>> functions() {
  const double c = std::sqrt(2 / pi);
  const auto inner = [c](double x) { return c * (x + 0.044715 * x * x * x); };
  const auto inner_slope = [c](double x) { return c * (1 + 3 * 0.044715 * x * x); };
  return {
      {"relu", [](double x) { return x > 0 ? x : 0; }, [](double x) { return x > 0 ? 1 : 0; }, ef::relu_forward<Scalar>,
       ef::relu_backward<Scalar>, ef::relu<Matrix<Scalar>>},
      {"gelu", [](double x) { return x * normal(x); },
       [](double x) { return normal(x) + x * std::exp(-x * x / 2) / std::sqrt(2 * pi); }, ef::gelu_forward<Scalar>,
       ef::gelu_backward<Scalar>, ef::gelu<Matrix<Scalar>>},
      {"gelu_tanh", [=](double x) { return x * (1 + std::tanh(inner(x))) / 2; },
       [=](double x) {
         const double t = std::tanh(inner(x));
         return (1 + t) / 2 + x * (1 - t * t) * inner_slope(x) / 2;
       },
       ef::gelu_tanh_forward<Scalar>, ef::gelu_tanh_backward<Scalar>, ef::gelu_tanh<Matrix<Scalar>>},
      {"silu", [](double x) { return x * logistic(x); },
       [](double x) { return logistic(x) + x * logistic(x) * logistic(-x); }, ef::silu_forward<Scalar>,
       ef::silu_backward<Scalar>, ef::silu<Matrix<Scalar>>},
      {"sigmoid", logistic, [](double x) { return logistic(x) * logistic(-x); }, ef::sigmoid_forward<Scalar>,
       ef::sigmoid_backward<Scalar>, ef::sigmoid<Matrix<Scalar>>},
      {"tanh", [](double x) { return std::tanh(x); }, [](double x) { return 1 / (std::cosh(x) * std::cosh(x)); },
       ef::tanh_forward<Scalar>, ef::tanh_backward<Scalar>, ef::tanh<Matrix<Scalar>>},
  };
}

template <class Scalar>
Matrix<Scalar> forward(const Function<Scalar>& f, const Matrix<Scalar>& x) {
  return run_every_way<Scalar>(
      {x}, {ef::shape(x)}, [&](auto& in, auto& out, ef::Threads* threads) { f.forward(in[0], out[0], threads); })[0];
}
template <class Scalar>
Matrix<Scalar> backward(const Function<Scalar>& f, const Matrix<Scalar>& x, const Matrix<Scalar>& d_y) {
  return run_every_way<Scalar>({x, d_y}, {ef::shape(x)}, [&](auto& in, auto& out, ef::Threads* threads) {
    f.backward(in[0], in[1], out[0], threads);
  })[0];
}

}  // namespace

TEMPLATE_TEST_CASE("activations agree with their definitions", "[kernels][threads]", float, double) {
  const auto seed = GENERATE(131U, 132U);
  CAPTURE(seed);
  ef::Rng rng(seed);
  for (const Function<TestType>& f : functions<TestType>())
    for (const ef::Shape& s : odd_shapes()) {
      CAPTURE(f.name, s.rows, s.cols);
      const auto x = random_matrix<TestType>(s.rows, s.cols, rng, 3);
      const auto d_y = random_matrix<TestType>(s.rows, s.cols, rng);
      const Matrix<double> exact = x.template cast<double>();
      const Matrix<TestType> y = forward(f, x);
      CHECK(max_error(y, exact.unaryExpr(f.definition)) < tolerance<TestType>(4));
      const Matrix<double> d_x = exact.unaryExpr(f.derivative).cwiseProduct(d_y.template cast<double>());
      CHECK(max_error(backward(f, x, d_y), d_x) < tolerance<TestType>(16));
      CHECK(identical<TestType>(f.convenience(x, nullptr), y));
      CHECK(identical<TestType>(f.convenience(with_rows_before(x, 3), nullptr).bottomRows(s.rows), y));
    }
}

TEMPLATE_TEST_CASE("activations keep their digits where they are small", "[kernels][threads]", float, double) {
  // The formulas with 1 + erf and 1 + tanh have none left there.
  for (const Function<TestType>& f : functions<TestType>()) {
    if (f.name == "relu" || f.name == "gelu_tanh" || f.name == "tanh") continue;
    CAPTURE(f.name);
    // Down to the smallest normal numbers; GELU's tail ends before.
    const int last = f.name == "gelu" ? 1000 : std::is_same_v<TestType, float> ? 8700 : 70800;
    for (int i = 0; i <= last; i += i < 1000 ? 1 : 37) {
      const Matrix<TestType> x = Matrix<TestType>::Constant(1, 1, static_cast<TestType>(-i) / 100);
      const double expected = f.definition(static_cast<double>(x(0, 0)));
      const auto given = static_cast<double>(f.convenience(x, nullptr)(0, 0));
      // exp(-x^2 / 2) multiplies the rounding of its exponent, in double that of the reference too.
      const double share = f.name != "gelu" ? 0 : std::is_same_v<TestType, float> ? 0.5 : 2;
      const double units = 6 + share * static_cast<double>(x(0, 0) * x(0, 0));
      CAPTURE(x(0, 0), given, expected);
      REQUIRE(std::abs(given - expected) <= rounding<TestType>(units) * std::abs(expected));
    }
  }
}

TEMPLATE_TEST_CASE("activations of extreme numbers", "[kernels][threads]", float, double) {
  using Limits = std::numeric_limits<TestType>;
  for (const Function<TestType>& f : functions<TestType>()) {
    CAPTURE(f.name);
    const bool bounded = f.name == "sigmoid" || f.name == "tanh";
    for (const TestType x : {TestType(1e4), TestType(1e30), Limits::max(), Limits::infinity()}) {
      CAPTURE(x);
      const Matrix<TestType> both{{x, -x}};
      const Matrix<TestType> y = f.convenience(both, nullptr);
      CHECK(y(0, 0) == (bounded ? TestType(1) : x));
      CHECK(y(0, 1) == (f.name == "tanh" ? TestType(-1) : TestType(0)));
      Matrix<TestType> d(1, 2);
      f.backward(both, Matrix<TestType>::Ones(1, 2), d, nullptr);
      CHECK(d(0, 0) == (bounded ? TestType(0) : TestType(1)));
      CHECK(d(0, 1) == TestType(0));
    }
    // NaN stays in its place.
    Matrix<TestType> x = Matrix<TestType>::Zero(1, 37);
    x(0, 3) = x(0, 36) = Limits::quiet_NaN();
    const Matrix<TestType> y = f.convenience(x, nullptr);
    Matrix<TestType> d(1, 37);
    f.backward(x, Matrix<TestType>::Ones(1, 37), d, nullptr);
    for (const Matrix<TestType>* m : {&y, static_cast<const Matrix<TestType>*>(&d)}) {
      CHECK(m->array().isNaN().count() == 2);
      CHECK(std::isnan((*m)(0, 3)));
      CHECK(std::isnan((*m)(0, 36)));
    }
    CHECK(f.convenience(Matrix<TestType>(0, 3), nullptr).rows() == 0);
    CHECK(f.convenience(Matrix<TestType>(3, 0), nullptr).cols() == 0);
  }
}

TEMPLATE_TEST_CASE("activations agree with PyTorch", "[kernels]", float, double) {
  const Matrix<double> x{{-6, -3.5, -2, -1, -0.5, -0.1, 0, 0.3, 1, 2.5, 5}};
  const Matrix<double> gelu{{-5.919525869479969e-09, -0.0008142017766243903, -0.04550026389635842, -0.15865525393145702,
                             -0.15426876936299344, -0.0460172162722971, 0.0, 0.1853734266566858, 0.841344746068543,
                             2.4844758366855597, 4.999998566742141}};
  const Matrix<double> d_gelu{{-3.546870945402639e-08, -0.0028217603536246205, -0.08523180107819692,
                               -0.08331547058768635, 0.13250487534383712, 0.4204769079752698, 0.5, 0.7323277668271099,
                               1.0833154705876864, 1.037611085908145, 1.000007146946002}};
  const Matrix<double> gelu_tanh{{-8.43964897967453e-11, -0.0006161976553737403, -0.04540230591222494,
                                  -0.1588080093917233, -0.15428599017485606, -0.04601724895456484, 0.0,
                                  0.18537092354275922, 0.8411919906082768, 2.484915733910001, 4.999999770820381}};
  const Matrix<double> d_gelu_tanh{{-7.709976012836329e-10, -0.0024226437601167334, -0.0860992566236183,
                                    -0.08296408384578258, 0.13263009646535764, 0.4204782107282433, 0.5,
                                    0.7322954516388018, 1.0829640838457826, 1.037951576212666, 1.000001546361988}};
  const Matrix<double> silu{{-0.014835738939808647, -0.10259280762974712, -0.2384058440442351, -0.2689414213699951,
                             -0.1887703343990727, -0.047502081252106004, 0.0, 0.1723327550434977, 0.7310585786300049,
                             2.3103545499468914, 4.966535745378576}};
  const Matrix<double> d_silu{{-0.012326432591525513, -0.07027335282771814, -0.09078424878489547, 0.07232948812851325,
                               0.2600388126973482, 0.4500832085017708, 0.5, 0.6477800103188829, 0.9276705118714869,
                               1.0994011113415267, 1.0265474324296655}};
  const Matrix<TestType> given = x.template cast<TestType>();
  const Matrix<TestType> ones = Matrix<TestType>::Ones(1, x.cols());
  const double most = tolerance<TestType>(4);
  const auto derivative = [&](Activation activation) {
    Matrix<TestType> d(1, x.cols());
    ef::activation_backward<TestType>(activation, given, ones, d);
    return d;
  };
  CHECK(max_error(ef::gelu(given), gelu) < most);
  CHECK(max_error(derivative(Activation::gelu), d_gelu) < most);
  CHECK(max_error(ef::gelu_tanh(given), gelu_tanh) < most);
  CHECK(max_error(derivative(Activation::gelu_tanh), d_gelu_tanh) < most);
  CHECK(max_error(ef::silu(given), silu) < most);
  CHECK(max_error(derivative(Activation::silu), d_silu) < most);
}

TEST_CASE("the derivatives of activations agree with differences", "[kernels][threads]") {
  ef::Rng rng(141);
  // Away from 0, where ReLU has no derivative.
  const Matrix<double> x =
      random_matrix<double>(5, 17, rng, 2).unaryExpr([](double v) { return std::abs(v) < 0.01 ? v + 0.1 : v; });
  const auto d_y = random_matrix<double>(5, 17, rng);
  for (const Function<double>& f : functions<double>()) {
    CAPTURE(f.name);
    const auto loss = [&](const Matrix<double>& v) { return dot(f.convenience(v, nullptr), d_y); };
    CHECK(max_error(backward(f, x, d_y), numeric_gradient(x, loss)) < gradient_tolerance);
  }
}

TEMPLATE_TEST_CASE("ReLU passes nothing on at 0", "[kernels]", float, double) {
  const TestType tiny = std::numeric_limits<TestType>::min();
  const Matrix<TestType> x{{0, TestType(-0.0), tiny, -tiny}};
  Matrix<TestType> d(1, 4);
  ef::relu_backward<TestType>(x, Matrix<TestType>::Constant(1, 4, 3), d);
  CHECK(identical<TestType>(d, Matrix<TestType>{{0, 0, 3, 0}}));
}

TEMPLATE_TEST_CASE("ReLU passes a gradient on whole, or not at all", "[kernels]", float, double) {
  constexpr auto infinity = std::numeric_limits<TestType>::infinity(), nan = std::numeric_limits<TestType>::quiet_NaN();
  constexpr auto least = std::numeric_limits<TestType>::denorm_min();
  const Matrix<TestType> x{{least, 1, 1, -1, -1, -infinity, 0, -least}};
  const Matrix<TestType> d_y{{3, infinity, -infinity, infinity, nan, infinity, infinity, infinity}};
  Matrix<TestType> d(1, 8);
  ef::relu_backward<TestType>(x, d_y, d);
  CHECK(identical<TestType>(d, Matrix<TestType>{{3, infinity, -infinity, 0, 0, 0, 0, 0}}));
  const Matrix<TestType> undefined{{nan, 1}}, d_undefined{{1, nan}};
  Matrix<TestType> e(1, 2);
  ef::relu_backward<TestType>(undefined, d_undefined, e);
  CHECK(e.array().isNaN().all());
}

TEST_CASE("activations take any Eigen matrix, and may work in place", "[kernels][threads]") {
  ef::Rng rng(151);
  const auto x = random_matrix<float>(5, 7, rng);
  const auto d_y = random_matrix<float>(5, 7, rng);
  const Eigen::MatrixXf by_columns = x;
  CHECK(identical<float>(ef::gelu(by_columns), ef::gelu(x)));
  CHECK(identical<float>(ef::gelu(2 * by_columns.topRows(3)), ef::gelu(Matrix<float>(2 * x.topRows(3)))));
  const Eigen::VectorXf vector = x.col(2);
  CHECK(identical<float>(ef::tanh(vector), ef::tanh(x).col(2)));
  for (const Function<float>& f : functions<float>()) {
    CAPTURE(f.name);
    Matrix<float> in_place = x;
    f.forward(in_place, in_place, nullptr);
    CHECK(identical<float>(in_place, f.convenience(x, nullptr)));
    in_place = d_y;
    f.backward(x, in_place, in_place, nullptr);
    CHECK(identical<float>(in_place, backward(f, x, d_y)));
  }
}

TEST_CASE("an activation is chosen by name", "[kernels][threads]") {
  ef::Rng rng(161);
  const auto x = random_matrix<double>(3, 5, rng);
  const auto d_y = random_matrix<double>(3, 5, rng);
  for (const Function<double>& f : functions<double>()) {
    if (f.name == "sigmoid" || f.name == "tanh") continue;
    CAPTURE(f.name);
    const Activation activation = ef::value_of<ef::Activation>(f.name);
    CHECK(ef::to_string(activation) == f.name);
    Matrix<double> y(3, 5);
    ef::activation_forward<double>(activation, x, y);
    CHECK(identical<double>(y, f.convenience(x, nullptr)));
    ef::activation_backward<double>(activation, x, d_y, y);
    CHECK(identical<double>(y, backward(f, x, d_y)));
  }
  CHECK(message_of([] { ef::value_of<ef::Activation>("GELU"); }) ==
        "value_of: expected relu, gelu, gelu_tanh or silu, given \"GELU\"");
  CHECK(message_of([] { ef::value_of<ef::Activation>(""); }) ==
        "value_of: expected relu, gelu, gelu_tanh or silu, given \"\"");
}

TEST_CASE("activations name what does not fit", "[kernels][threads]") {
  const Matrix<float> x(2, 3);
  Matrix<float> y(3, 2);
  Matrix<float> fits(2, 3);
  for (const Function<float>& f : functions<float>()) {
    CHECK(message_of([&] { f.forward(x, y, nullptr); }) == f.name + ": y is [3 x 2], expected [2 x 3]");
    CHECK(message_of([&] { f.backward(x, y, fits, nullptr); }) == f.name + ": d_y is [3 x 2], expected [2 x 3]");
    CHECK(message_of([&] { f.backward(x, x, y, nullptr); }) == f.name + ": d_x is [3 x 2], expected [2 x 3]");
  }
}
