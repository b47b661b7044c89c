#include "eigenformer/ops/matmul.hpp"

#include "support/approx.hpp"
#include "support/message_of.hpp"
#include "support/ops.hpp"

namespace ef = eigenformer;
using ef::testing::check_op;
using ef::testing::random_matrix;
using Context = ef::Context<double>;
using Inputs = std::vector<ef::Variable<double>>;

TEST_CASE("gradients of dense products", "[ops]") {
  const std::uint64_t seed = 12;
  CAPTURE(seed);
  ef::Rng rng(seed);
  const auto x = random_matrix<double>(7, 5, rng), w = random_matrix<double>(4, 5, rng);
  const auto bias = random_matrix<double>(1, 4, rng), b = random_matrix<double>(5, 6, rng);
  check_op({x, b}, [](const Context& c, const Inputs& in) { return ef::matmul(c, in[0], in[1]); });
  check_op({x, w, bias}, [](const Context& c, const Inputs& in) { return ef::linear(c, in[0], in[1], in[2]); });
  check_op({x, w}, [](const Context& c, const Inputs& in) { return ef::linear(c, in[0], in[1]); });

  const Context none{};
  const ef::Matrix<double> y =
      ef::linear(none, ef::Variable<double>(x), ef::Variable<double>(w), ef::Variable<double>(bias)).value();
  CHECK(y.isApprox((x * w.transpose()).rowwise() + bias.row(0), 1e-14));
}

namespace {

/// Returns x with entries rounded to bfloat16.
ef::Matrix<double> with_bfloat16_entries(const ef::Matrix<float>& x) {
  return x.cast<Eigen::bfloat16>().cast<double>();
}

}  // namespace

TEST_CASE("dense products in bfloat16 round the operands of the forward and of the backward", "[ops]") {
  const std::uint64_t seed = 13;
  CAPTURE(seed);
  ef::Rng rng(seed);
  const auto x = random_matrix<float>(37, 33, rng), weight = random_matrix<float>(19, 33, rng);
  const auto bias = random_matrix<float>(1, 19, rng), d_y = random_matrix<float>(37, 19, rng);
  ef::Tape<float> tape;
  const ef::Context<float> context{.tape = &tape, .precision = ef::Precision::bfloat16};
  const ef::Variable<float> in = tape.variable(x), w = tape.variable(weight), b = tape.variable(bias);
  const ef::Variable<float> y = ef::linear(context, in, w, b);
  tape.backward(ef::sum(context, ef::multiply(context, y, ef::Variable<float>(d_y))));
  const double tolerance = ef::testing::rounding<float>(200);
  const ef::Matrix<double> rx = with_bfloat16_entries(x), rw = with_bfloat16_entries(weight),
                           rd = with_bfloat16_entries(d_y);
  CHECK(ef::testing::max_error(
            y.value(), ef::Matrix<double>((rx * rw.transpose()).rowwise() + bias.cast<double>().row(0))) <= tolerance);
  CHECK(ef::testing::max_error(tape.gradient(in), ef::Matrix<double>(rd * rw)) <= tolerance);
  CHECK(ef::testing::max_error(tape.gradient(w), ef::Matrix<double>(rd.transpose() * rx)) <= tolerance);
  CHECK(ef::testing::max_error(tape.gradient(b), ef::Matrix<double>(d_y.cast<double>().colwise().sum())) <= tolerance);

  ef::Tape<float> products;
  const ef::Context<float> of_products{.tape = &products, .precision = ef::Precision::bfloat16};
  const ef::Variable<float> left = products.variable(x), right = products.variable(weight.transpose());
  const ef::Variable<float> product = ef::matmul(of_products, left, right);
  products.backward(ef::sum(of_products, ef::multiply(of_products, product, ef::Variable<float>(d_y))));
  CHECK(ef::testing::max_error(product.value(), ef::Matrix<double>(rx * rw.transpose())) <= tolerance);
  CHECK(ef::testing::max_error(products.gradient(left), ef::Matrix<double>(rd * rw)) <= tolerance);
  CHECK(ef::testing::max_error(products.gradient(right), ef::Matrix<double>(rx.transpose() * rd)) <= tolerance);
}

TEST_CASE("products of doubles in bfloat16 are an error", "[ops]") {
  const ef::Variable<double> x(ef::Matrix<double>::Ones(2, 2));
  const Context context{.precision = ef::Precision::bfloat16};
  const std::string expected =
      "matmul: the precision is bfloat16, but the matrices are not of floats; expected precision float32";
  CHECK(ef::testing::message_of([&] { ef::linear(context, x, x); }) == expected);
  CHECK(ef::testing::message_of([&] { ef::matmul(context, x, x); }) == expected);
}
