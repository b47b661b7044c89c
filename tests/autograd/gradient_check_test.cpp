#include "eigenformer/autograd/gradient_check.hpp"

#include <limits>

#include "eigenformer/ops/arithmetic.hpp"
#include "support/catch.hpp"
#include "support/message_of.hpp"

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

TEST_CASE("a check that would compare nothing is refused", "[autograd]") {
  ef::Parameter<double> p(ef::Matrix<double>::Random(2, 2));
  const auto message = [&](const ef::GradientCheckOptions& options) {
    return ef::testing::message_of([&] {
      ef::gradient_check(
          {p.value},
          [](const ef::Context<double>& context, const std::vector<Variable>& inputs) {
            return ef::sum(context, inputs[0]);
          },
          options);
    });
  };
  CHECK(message({.max_entries = -1}) == "gradient_check: max_entries is -1, expected 0 or more; 0 checks all");
  CHECK(message({.step = 0}) == "gradient_check: step is 0, expected a finite number above 0");
  CHECK(message({.step = -1e-5}).find("gradient_check: step is -1") == 0);
  CHECK(message({.step = std::numeric_limits<double>::infinity()}).find("gradient_check: step is inf") == 0);
  CHECK(message({.step = std::numeric_limits<double>::quiet_NaN()}).find("expected a finite number") !=
        std::string::npos);
  CHECK(message({.max_entries = 0}) == "nothing was thrown");
  CHECK(ef::testing::message_of([&] {
          ef::gradient_check_parameters(
              p, [&](const ef::Context<double>& context) { return ef::sum(context, context.use(p)); },
              {.max_entries = -2});
        }) == "gradient_check_parameters: max_entries is -2, expected 0 or more; 0 checks all");
}
