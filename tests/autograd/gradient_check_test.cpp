#include "eigenformer/autograd/gradient_check.hpp"

#include <limits>

#include "eigenformer/ops/arithmetic.hpp"
#include "support/catch.hpp"

namespace ef = eigenformer;
using Variable = ef::Variable<double>;

namespace {

/// x^3, with a derivative that is right for factor 3 alone.
Variable cube(const ef::Context<double>& context, const Variable& x, double factor) {
  Variable y = context.new_matrix(x.rows(), x.cols());
  y.writable() = x.value().array().cube();
  return context.record(std::move(y), {x}, [x, factor](const Variable& d_y, ef::Tape<double>& tape) {
    tape.add_gradient(
        x, [&](ef::MatrixMap<double> d_x) { d_x = factor * x.value().array().square() * d_y.value().array(); });
  });
}

}  // namespace

TEST_CASE("the gradient check passes what is right and finds what is wrong", "[autograd]") {
  const ef::Matrix<double> x = ef::Matrix<double>::Random(3, 3);
  const auto check = [&](double factor) {
    return ef::gradient_check({x}, [&](const ef::Context<double>& context, const std::vector<Variable>& inputs) {
      return ef::sum(context, cube(context, inputs[0], factor));
    });
  };
  const ef::GradientCheckResult right = check(3);
  REQUIRE(right.max_error < 1e-8);
  REQUIRE(right.entries == 9);
  const ef::GradientCheckResult wrong = check(3.01);
  REQUIRE(wrong.max_error > 1e-4);
  REQUIRE(wrong.where.find("input 0") != std::string::npos);
}

TEST_CASE("one gradient that is NaN fails the check, wherever it is", "[autograd]") {
  for (const ef::Index place : {0, 4, 8}) {
    CAPTURE(place);
    const ef::GradientCheckResult result = ef::gradient_check(
        {ef::Matrix<double>::Random(3, 3)},
        [&](const ef::Context<double>& context, const std::vector<Variable>& inputs) {
          Variable y = context.new_matrix(3, 3);
          y.writable() = inputs[0].value();
          y = context.record(std::move(y), {inputs[0]},
                             [x = inputs[0], place](const Variable& d_y, ef::Tape<double>& tape) {
                               tape.add_gradient(x, [&](ef::MatrixMap<double> d_x) {
                                 d_x = d_y.value();
                                 d_x(place / 3, place % 3) = std::numeric_limits<double>::quiet_NaN();
                               });
                             });
          return ef::sum(context, y);
        });
    REQUIRE(std::isnan(result.max_error));
    REQUIRE_FALSE(result.max_error < 1e-8);
  }
}

TEST_CASE("checking parameters leaves them as they were", "[autograd]") {
  ef::Parameter<double> p(ef::Matrix<double>::Random(5, 7));
  const ef::Matrix<double> before = p.value;
  const ef::GradientCheckResult result = ef::gradient_check_parameters(
      p, [&](const ef::Context<double>& context) { return ef::sum(context, cube(context, context.use(p), 3)); },
      {.max_entries = 10});
  REQUIRE(result.max_error < 1e-8);
  REQUIRE(result.entries == 10);
  REQUIRE(p.value == before);
}

TEST_CASE("an undefined gradient is an infinite error, not a pass", "[autograd]") {
  const ef::GradientCheckResult result = ef::gradient_check(
      {ef::Matrix<double>::Ones(1, 1)}, [&](const ef::Context<double>& context, const std::vector<Variable>& inputs) {
        return ef::sum(context, cube(context, inputs[0], std::numeric_limits<double>::quiet_NaN()));
      });
  REQUIRE(!(result.max_error < 1));
}
