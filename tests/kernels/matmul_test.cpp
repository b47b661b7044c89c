#include "eigenformer/kernels/matmul.hpp"

#include "kernels/kernel_checks.hpp"
#include "support/message_of.hpp"

namespace ef = eigenformer;
using ef::Index;
using ef::Matrix;
using ef::Shape;
using namespace ef::testing;

namespace {

Matrix<double> naive_product(const Matrix<double>& a, const Matrix<double>& b) {
  Matrix<double> c = Matrix<double>::Zero(a.rows(), b.cols());
  for (Index i = 0; i < a.rows(); ++i)
    for (Index j = 0; j < b.cols(); ++j)
      for (Index k = 0; k < a.cols(); ++k) c(i, j) += a(i, k) * b(k, j);
  return c;
}

// Sizes m, k, n: each odd one in every place, and some that are cut into several tasks.
std::vector<std::array<Index, 3>> sizes() {
  std::vector<std::array<Index, 3>> all;
  const Index odd[] = {0, 1, 2, 3, 5, 7, 8, 13, 16, 17, 31, 64, 100};
  for (const Index s : odd) {
    all.push_back({s, 13, 7});
    all.push_back({7, s, 17});
    all.push_back({13, 5, s});
    all.push_back({s, s, s});
  }
  all.push_back({3, 257, 17});
  all.push_back({300, 20, 140});
  return all;
}

template <class Scalar>
double dot_tolerance(Index depth) {
  return rounding<Scalar>(static_cast<double>(depth) + 4);  // of normal entries
}

}  // namespace

TEMPLATE_TEST_CASE("matmul and its derivatives agree with their definition, every way", "[kernels][threads]", float,
                   double) {
  ef::Rng rng(1);
  for (const auto& [m, k, n] : sizes()) {
    CAPTURE(m, k, n);
    const auto a = random_matrix<TestType>(m, k, rng);
    const auto b = random_matrix<TestType>(k, n, rng);
    const auto d_y = random_matrix<TestType>(m, n, rng);
    const Matrix<double> a_d = a.template cast<double>(), b_d = b.template cast<double>();
    const Matrix<double> d_y_d = d_y.template cast<double>();
    const auto y = run_every_way<TestType>({a, b}, {{m, n}}, [](auto& in, auto& out, auto* threads) {
      ef::matmul_forward<TestType>(in[0], in[1], out[0], threads);
    })[0];
    CHECK(max_error(y, naive_product(a_d, b_d)) < dot_tolerance<TestType>(k));
    const auto d_a = run_every_way<TestType>({b, d_y}, {{m, k}}, [](auto& in, auto& out, auto* threads) {
      ef::matmul_backward_left<TestType>(in[0], in[1], out[0], threads);
    })[0];
    CHECK(max_error(d_a, naive_product(d_y_d, b_d.transpose())) < dot_tolerance<TestType>(n));
    const auto d_b = run_every_way<TestType>({a, d_y}, {{k, n}}, [](auto& in, auto& out, auto* threads) {
      ef::matmul_backward_right<TestType>(in[0], in[1], out[0], threads);
    })[0];
    CHECK(max_error(d_b, naive_product(a_d.transpose(), d_y_d)) < dot_tolerance<TestType>(m));
  }
}

TEMPLATE_TEST_CASE("linear and its derivatives agree with their definition, every way", "[kernels][threads]", float,
                   double) {
  ef::Rng rng(2);
  for (const auto& [tokens, inputs, outputs] : sizes()) {
    CAPTURE(tokens, inputs, outputs);
    const auto x = random_matrix<TestType>(tokens, inputs, rng);
    const auto weight = random_matrix<TestType>(outputs, inputs, rng);
    const auto bias = random_matrix<TestType>(1, outputs, rng);
    const auto d_y = random_matrix<TestType>(tokens, outputs, rng);
    const Matrix<double> x_d = x.template cast<double>(), weight_d = weight.template cast<double>();
    const Matrix<double> d_y_d = d_y.template cast<double>(), bias_d = bias.template cast<double>();
    const Matrix<double> product = naive_product(x_d, weight_d.transpose());
    const Shape y_shape{tokens, outputs};
    const auto y = run_every_way<TestType>({x, weight, bias}, {y_shape}, [](auto& in, auto& out, auto* threads) {
      ef::linear_forward<TestType>(in[0], in[1], in[2], out[0], threads);
    })[0];
    CHECK(max_error(y, product + bias_d.replicate(tokens, 1)) < dot_tolerance<TestType>(inputs));
    const auto no_bias = run_every_way<TestType>({x, weight}, {y_shape}, [](auto& in, auto& out, auto* threads) {
      ef::linear_forward<TestType>(in[0], in[1], Matrix<TestType>(), out[0], threads);
    })[0];
    CHECK(max_error(no_bias, product) < dot_tolerance<TestType>(inputs));

    const auto d_x = run_every_way<TestType>({weight, d_y}, {{tokens, inputs}}, [](auto& in, auto& out, auto* t) {
      ef::linear_backward_input<TestType>(in[0], in[1], out[0], t);
    })[0];
    CHECK(max_error(d_x, naive_product(d_y_d, weight_d)) < dot_tolerance<TestType>(outputs));
    const auto d_weight = run_every_way<TestType>({x, d_y}, {{outputs, inputs}}, [](auto& in, auto& out, auto* t) {
      ef::linear_backward_weight<TestType>(in[0], in[1], out[0], t);
    })[0];
    CHECK(max_error(d_weight, naive_product(d_y_d.transpose(), x_d)) < dot_tolerance<TestType>(tokens));
    const auto d_bias = run_every_way<TestType>({d_y}, {{1, outputs}}, [](auto& in, auto& out, auto* t) {
      ef::linear_backward_bias<TestType>(in[0], out[0], t);
    })[0];
    CHECK(max_error(d_bias, naive_product(Matrix<double>::Ones(1, tokens), d_y_d)) < dot_tolerance<TestType>(tokens));
  }
}

TEST_CASE("linear's derivatives agree with differences", "[kernels]") {
  ef::Rng rng(3);
  const auto x = random_matrix<double>(5, 7, rng);
  const auto weight = random_matrix<double>(3, 7, rng);
  const auto bias = random_matrix<double>(1, 3, rng);
  const auto d_y = random_matrix<double>(5, 3, rng);
  const auto loss = [&](const Matrix<double>& x_, const Matrix<double>& weight_, const Matrix<double>& bias_) {
    Matrix<double> y(5, 3);
    ef::linear_forward<double>(x_, weight_, bias_, y);
    return dot(y, d_y);
  };
  Matrix<double> d_x(5, 7), d_weight(3, 7), d_bias(1, 3);
  ef::linear_backward_input<double>(weight, d_y, d_x);
  ef::linear_backward_weight<double>(x, d_y, d_weight);
  ef::linear_backward_bias<double>(d_y, d_bias);
  CHECK(max_error(d_x, numeric_gradient(x, [&](const auto& v) { return loss(v, weight, bias); })) < gradient_tolerance);
  CHECK(max_error(d_weight, numeric_gradient(weight, [&](const auto& v) { return loss(x, v, bias); })) <
        gradient_tolerance);
  CHECK(max_error(d_bias, numeric_gradient(bias, [&](const auto& v) { return loss(x, weight, v); })) <
        gradient_tolerance);
}

TEMPLATE_TEST_CASE("a row's result is the same to the last bit alone and in any batch", "[kernels]", float, double) {
  ef::Rng rng(4);
  const Index rows = 300;
  const auto x = random_matrix<TestType>(rows, 259, rng);
  const auto weight = random_matrix<TestType>(37, 259, rng);
  const auto bias = random_matrix<TestType>(1, 37, rng);
  const auto linear = [&](Index first, Index count) {
    Matrix<TestType> y(count, 37);
    ef::linear_forward<TestType>(x.middleRows(first, count), weight, bias, y);
    return y;
  };
  const Matrix<TestType> all = linear(0, rows);
  for (Index count = 1; count < 30; ++count)
    for (const Index first : {Index{0}, count, 3 * count, rows - count}) {
      CAPTURE(count, first);
      CHECK(identical<TestType>(linear(first, count), all.middleRows(first, count)));
    }
  const Matrix<TestType> by_columns = ef::matmul(x, weight.transpose());
  for (Index j = 0; j < 37; ++j)
    CHECK(identical<TestType>(ef::matmul(x, weight.row(j).transpose()), by_columns.col(j)));
}

TEMPLATE_TEST_CASE("a product divided among threads is the same to the last bit", "[kernels][threads]", float, double) {
  ef::Rng rng(14);
  ef::ThreadPool pool(3);
  for (const ef::Shape s : {ef::Shape{63, 200}, ef::Shape{64, 1}, ef::Shape{128, 128}, ef::Shape{245, 37},
                            ef::Shape{300, 147}, ef::Shape{513, 65}}) {
    CAPTURE(s.rows, s.cols);
    const auto x = random_matrix<TestType>(261, s.cols, rng), d_y = random_matrix<TestType>(261, s.rows, rng);
    Matrix<TestType> alone(s.rows, s.cols), shared(s.rows, s.cols);
    ef::linear_backward_weight<TestType>(x, d_y, alone);
    ef::linear_backward_weight<TestType>(x, d_y, shared, &pool);
    CHECK(max_error(alone, naive_product(d_y.transpose().template cast<double>(), x.template cast<double>())) <
          dot_tolerance<TestType>(261));
    CHECK(identical<TestType>(shared, alone));
  }
}

TEMPLATE_TEST_CASE("matmul takes any Eigen matrices", "[kernels][threads]", float, double) {
  using ByColumns = Eigen::Matrix<TestType, Eigen::Dynamic, Eigen::Dynamic>;
  ef::Rng rng(5);
  const auto a = random_matrix<TestType>(6, 9, rng);
  const auto b = random_matrix<TestType>(9, 5, rng);
  const Matrix<TestType> y = ef::matmul(a, b);
  const ByColumns a_columns = a, b_columns = b;
  const Eigen::Matrix<TestType, 9, 5> fixed = b;
  CHECK(identical<TestType>(ef::matmul(a_columns, b_columns), y));
  CHECK(identical<TestType>(ef::matmul(a, fixed), y));
  CHECK(identical<TestType>(ef::matmul(Matrix<TestType>(a.transpose()).transpose(), b + Matrix<TestType>::Zero(9, 5)),
                            y));
  CHECK(identical<TestType>(ef::matmul(a_columns.block(1, 2, 3, 4), b.block(2, 1, 4, 4)),
                            ef::matmul(Matrix<TestType>(a.block(1, 2, 3, 4)), Matrix<TestType>(b.block(2, 1, 4, 4)))));
  CHECK(identical<TestType>(ef::matmul(a, b_columns.col(2)), y.col(2)));
  CHECK(identical<TestType>(ef::matmul(a_columns.row(2), b), y.row(2)));
  ef::ThreadPool pool(3);
  CHECK(identical<TestType>(ef::matmul(a, b, &pool), y));
}

TEST_CASE("matmul and linear name what does not fit, and write nothing", "[kernels]") {
  const Matrix<float> x = Matrix<float>::Ones(7, 512), weight(256, 500), none;
  Matrix<float> y = Matrix<float>::Constant(7, 256, 3);
  const auto linear = [&](Index inputs, Index bias_rows, Index bias, Index rows, Index outputs) {
    return message_of([&] {
      ef::linear_forward<float>(x, Matrix<float>::Ones(256, inputs), Matrix<float>::Ones(bias_rows, bias),
                                y.topLeftCorner(rows, outputs));
    });
  };
  CHECK(linear(500, 1, 256, 7, 256) == "linear: x is [7 x 512], weight is [256 x 500]");
  CHECK(linear(512, 1, 255, 7, 256) == "linear: bias is [1 x 255], weight is [256 x 512]");
  CHECK(linear(512, 256, 1, 7, 256) == "linear: bias is [256 x 1], weight is [256 x 512]");
  CHECK(linear(512, 1, 256, 6, 256) == "linear: y is [6 x 256], expected [7 x 256]");
  CHECK(linear(512, 0, 0, 7, 255) == "linear: y is [7 x 255], expected [7 x 256]");
  CHECK(message_of([&] { ef::matmul(x, weight); }) == "matmul: a is [7 x 512], b is [256 x 500]");
  CHECK(message_of([&] { ef::matmul_forward<float>(x, x.transpose(), y); }) ==
        "matmul: y is [7 x 256], expected [7 x 7]");
  CHECK(message_of([&] { ef::matmul_backward_left<float>(weight, x, y); }) ==
        "matmul: d_y is [7 x 512], b is [256 x 500]");
  CHECK(message_of([&] { ef::matmul_backward_left<float>(x, x, y); }) == "matmul: d_a is [7 x 256], expected [7 x 7]");
  CHECK(message_of([&] { ef::matmul_backward_right<float>(weight, x, y); }) ==
        "matmul: a is [256 x 500], d_y is [7 x 512]");
  CHECK(message_of([&] { ef::matmul_backward_right<float>(x, x, y); }) ==
        "matmul: d_b is [7 x 256], expected [512 x 512]");
  CHECK(message_of([&] { ef::linear_backward_bias<float>(x, y); }) ==
        "linear: d_bias is [7 x 256], expected [1 x 512]");
  CHECK((y.array() == 3).all());
}

TEST_CASE("the gradient of a bias is exact for many tokens, and zero for none", "[kernels]") {
  const Index tokens = 1'000'000;
  Matrix<float> d_bias = Matrix<float>::Constant(1, 2, 9);
  ef::linear_backward_bias<float>(Matrix<float>::Constant(tokens, 2, 0.5F), d_bias);
  CHECK((d_bias.array() == 500'000).all());
  ef::linear_backward_bias<float>(Matrix<float>(0, 2), d_bias);
  CHECK(d_bias.isZero(0));
}
