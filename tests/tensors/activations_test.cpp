#include "eigenformer/tensors/activations.hpp"

#include "support/message_of.hpp"
#include "tensors/tensor_checks.hpp"

namespace ef = eigenformer;
using ef::Index;
using ef::Matrix;
using ef::Tensor;
using ef::Threads;
using Eigen::half;
using namespace ef::testing;

namespace {

/// Calls check(tensor function, its backward, matrix function, its backward) for each activation, whose names are
/// overloaded.
#define CHECK_ACTIVATION(name)                                                                      \
  check([](auto&& x, Threads* threads) { return ef::name(std::forward<decltype(x)>(x), threads); }, \
        [](auto&& x, auto&& d, Threads* threads) { return ef::name##_backward(x, d, threads); },    \
        [](const auto& x) { return ef::name(x); },                                                  \
        [](const auto& x, const auto& d, auto& to) {                                                \
          using Scalar = typename std::remove_reference_t<decltype(to)>::Scalar;                    \
          ef::name##_backward<Scalar>(x, d, to);                                                    \
        })
template <class Check>
void for_each_activation(Check check) {
  CHECK_ACTIVATION(relu);
  CHECK_ACTIVATION(gelu);
  CHECK_ACTIVATION(gelu_tanh);
  CHECK_ACTIVATION(silu);
  CHECK_ACTIVATION(sigmoid);
  CHECK_ACTIVATION(tanh);
}
#undef CHECK_ACTIVATION

}  // namespace

TEMPLATE_TEST_CASE("activations of tensors have the bits of those of matrices", "[tensors][threads]", float, double) {
  ef::ThreadPool pool(3);
  for (const ef::Sizes& shape :
       {ef::Sizes{}, ef::Sizes{1}, ef::Sizes{2, 3, 5}, ef::Sizes{7, 0}, ef::Sizes{3, 1024}, ef::Sizes{5, 211, 31}}) {
    CAPTURE(shape.rank());
    const Tensor<TestType> x = random_tensor<TestType>(shape, 1), d_y = random_tensor<TestType>(shape, 2);
    const Matrix<TestType> row = x.flatten().unsqueeze(0).matrix(), d_row = d_y.flatten().unsqueeze(0).matrix();
    for_each_activation([&](auto function, auto backward, auto of_matrix, auto backward_of_matrix) {
      for (Threads* const threads : {static_cast<Threads*>(nullptr), static_cast<Threads*>(&pool)}) {
        const Tensor<TestType> y = function(x, threads), d_x = backward(x, d_y, threads);
        CHECK(y.shape() == shape);
        CHECK(identical<TestType>(y.flatten().unsqueeze(0).matrix(), of_matrix(row)));
        Matrix<TestType> expected(row.rows(), row.cols());
        backward_of_matrix(row, d_row, expected);
        CHECK(d_x.shape() == shape);
        CHECK(identical<TestType>(d_x.flatten().unsqueeze(0).matrix(), expected));
      }
    });
  }
}

TEMPLATE_TEST_CASE("activations read any strides, expressions and temporaries", "[tensors][threads]", float, double) {
  Tensor<TestType> x = random_tensor<TestType>({4, 5, 6}, 3), d_y = random_tensor<TestType>({4, 5, 6}, 4);
  for_each_activation([&](auto function, auto backward, auto, auto) {
    const Tensor<TestType> y = function(x, nullptr), d_x = backward(x, d_y, nullptr);
    CHECK(ef::equal(function(x.transpose(), nullptr), y.transpose()));
    CHECK(ef::equal(function(x.slice(2, {.begin = 1}), nullptr), y.slice(2, {.begin = 1})));
    CHECK(ef::equal(function(x.slice(0, {.step = -1}), nullptr), y.slice(0, {.step = -1})));
    CHECK(ef::equal(function(x + TestType(0), nullptr), y));
    CHECK(ef::equal(backward(x.transpose(), d_y.transpose(), nullptr), d_x.transpose()));
    CHECK(ef::equal(backward(x.view(), d_y.slice(1, {}), nullptr), d_x));
    CHECK(ef::equal(backward(x + TestType(0), d_y + TestType(0), nullptr), d_x));
    Tensor<TestType> moved = x;
    const TestType* const data = moved.data();
    const Tensor<TestType> in_place = function(std::move(moved), nullptr);
    CHECK(in_place.data() == data);
    CHECK(ef::equal(in_place, y));
  });
}

TEST_CASE("activations agree with their definitions and derivatives with differences", "[tensors][threads]") {
  const Tensor<double> x = random_tensor<double>({3, 7}, 5), d_y = random_tensor<double>({3, 7}, 6);
  for (Index i = 0; i < x.size(); ++i) {
    const double v = x.data()[i], inner_tanh = std::sqrt(2 / 3.14159265358979323846) * (v + 0.044715 * v * v * v);
    CHECK(std::abs(ef::gelu(x).data()[i] - v * (1 + std::erf(v / std::sqrt(2.0))) / 2) < 1e-14);
    CHECK(std::abs(ef::gelu_tanh(x).data()[i] - v * (1 + std::tanh(inner_tanh)) / 2) < 1e-14);
    CHECK(std::abs(ef::silu(x).data()[i] - v / (1 + std::exp(-v))) < 1e-14);
  }
  for_each_activation([&](auto function, auto backward, auto, auto) {
    CHECK(error_of(backward(x, d_y, nullptr),
                   numeric(x, [&](const auto& v) { return inner(function(v, nullptr), d_y); })) < gradient_tolerance);
  });
}

TEST_CASE("an activation chosen at run time, and 16-bit entries", "[tensors]") {
  const Tensor<float> x = random_tensor<float>({3, 40}, 7), d_y = random_tensor<float>({3, 40}, 8);
  CHECK(ef::equal(ef::activation_forward(ef::Activation::silu, x), ef::silu(x)));
  CHECK(ef::equal(ef::activation_forward(ef::Activation::relu, x), ef::relu(x)));
  CHECK(ef::equal(ef::activation_backward(ef::Activation::gelu_tanh, x, d_y), ef::gelu_tanh_backward(x, d_y)));
  CHECK(ef::equal(ef::activation_backward(ef::Activation::gelu, x, d_y), ef::gelu_backward(x, d_y)));
  const Tensor<half> narrow = x.cast<half>();
  CHECK(ef::equal(ef::gelu(narrow), ef::gelu(narrow.cast<float>()).cast<half>()));
  CHECK(ef::equal(ef::silu_backward(narrow, narrow),
                  ef::silu_backward(narrow.cast<float>(), narrow.cast<float>()).cast<half>()));
}

TEST_CASE("activations of tensors and matrices have one name", "[tensors]") {
  const Tensor<float> x = random_tensor<float>({2, 3}, 9);
  const Eigen::MatrixXf m = x.matrix();
  CHECK(identical<float>(ef::gelu(x).matrix(), ef::gelu(m)));
  const Tensor<float> lazy = ef::tanh(x);  // an expression: see arithmetic.hpp
  CHECK(error_of(lazy, ef::tanh(x, nullptr)) < 1e-6);
  CHECK(message_of([&] { ef::gelu_backward(x, x.transpose()); }) == "gelu_backward: d_y is [3 x 2], expected [2 x 3]");
  CHECK(message_of([&] { ef::activation_backward(ef::Activation::relu, x, x.select(0, 0)); }) ==
        "activation_backward: d_y is [3], expected [2 x 3]");
}
