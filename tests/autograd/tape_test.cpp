#include "eigenformer/autograd/tape.hpp"

#include <new>
#include <optional>

#include "eigenformer/core/thread_pool.hpp"
#include "eigenformer/ops/arithmetic.hpp"
#include "eigenformer/ops/matmul.hpp"
#include "support/allocations.hpp"
#include "support/catch.hpp"
#include "support/message_of.hpp"
#include "support/random.hpp"

namespace ef = eigenformer;
using Variable = ef::Variable<double>;

TEST_CASE("the gradient of x * x is 2 x", "[autograd]") {
  ef::Tape<double> tape;
  const ef::Context<double> context{.tape = &tape};
  const Eigen::MatrixXd x0 = Eigen::MatrixXd::Random(3, 2);
  const Variable x = tape.variable(x0);
  tape.backward(ef::sum(context, ef::multiply(context, x, x)));
  REQUIRE(tape.gradient(x).isApprox(2 * x0));
}

TEST_CASE("gradients of shared results are summed, and shared memory is not written through", "[autograd]") {
  // y = a + b hands one gradient to both; each is then added to on its own.
  ef::Tape<double> tape;
  const ef::Context<double> context{.tape = &tape};
  const Variable a = tape.variable(Eigen::MatrixXd::Constant(1, 1, 2));
  const Variable b = tape.variable(Eigen::MatrixXd::Constant(1, 1, 3));
  const Variable squares = ef::add(context, ef::multiply(context, a, a), ef::scale(context, b, 10));
  const Variable y = ef::add(context, ef::add(context, a, b), squares);
  tape.backward(ef::sum(context, ef::add(context, y, y)));
  REQUIRE(tape.gradient(a)(0, 0) == 2 * (1 + 2 * 2));
  REQUIRE(tape.gradient(b)(0, 0) == 2 * (1 + 10));
}

TEST_CASE("gradients do not depend on the number of threads", "[autograd][threads]") {
  ef::Rng rng(7);
  ef::ThreadPool pool(3);
  const Eigen::MatrixXd x0 = ef::testing::random_matrix<double>(300, 257, rng);
  const auto gradient = [&](ef::Threads* threads) {
    ef::Tape<double> tape;
    const ef::Context<double> context{.tape = &tape, .threads = threads};
    const Variable x = tape.variable(x0);
    const Variable sum = ef::add(context, x, ef::add(context, ef::multiply(context, x, x), x));
    tape.backward(ef::sum(context, sum), 1, threads);
    return tape.gradient(x);
  };
  REQUIRE(gradient(&pool) == gradient(nullptr));
  REQUIRE(gradient(&pool).isApprox(2 * x0 + Eigen::MatrixXd::Constant(300, 257, 2)));
}

TEST_CASE("a parameter is one input however often it is used, and gradients add up over recordings", "[autograd]") {
  ef::Tape<double> tape;
  const ef::Context<double> context{.tape = &tape};
  ef::Parameter<double> p(1, 1);
  p.value(0, 0) = 3;
  for (int recording = 1; recording <= 3; ++recording) {
    const Variable w = context.use(p);
    REQUIRE(w.value().data() == p.value.data());
    tape.backward(ef::multiply(context, w, context.use(p)));
    REQUIRE(tape.gradient(p)(0, 0) == 6.0 * recording);
  }
  tape.gradients().clear();
  REQUIRE(tape.gradient(p)(0, 0) == 0);
}

TEST_CASE("backward tells when the gradient of a parameter is complete", "[autograd]") {
  ef::Tape<double> tape;
  const ef::Context<double> context{.tape = &tape};
  ef::Parameter<double> first(1, 1), last(1, 1), unused(1, 1);
  first.value(0, 0) = 3;
  last.value(0, 0) = 5;
  for (int recording = 1; recording <= 2; ++recording) {
    const Variable square = ef::multiply(context, context.use(first), context.use(first));
    const Variable product = ef::multiply(context, square, context.use(last));
    std::vector<const ef::Parameter<double>*> told;
    tape.backward(ef::add(context, product, context.use(first)), 1, nullptr,
                  [&](const ef::Parameter<double>& parameter) {
                    told.push_back(&parameter);
                    CHECK(tape.gradient(parameter)(0, 0) == recording * (&parameter == &last ? 9 : 31));
                  });
    CHECK(told == std::vector<const ef::Parameter<double>*>{&last, &first});  // the last one used comes first
  }
}

TEST_CASE("what does not reach the loss has a gradient of zero", "[autograd]") {
  ef::Tape<double> tape;
  const ef::Context<double> context{.tape = &tape};
  const Variable x = tape.variable(Eigen::MatrixXd::Ones(2, 2));
  const Variable unused = tape.variable(Eigen::MatrixXd::Ones(2, 3));
  const Variable dead_end = ef::scale(context, x, 5);
  const Variable loss = ef::sum(context, x);
  ef::scale(context, loss, 7);  // recorded after the loss
  tape.backward(loss);
  REQUIRE(tape.gradient(x) == Eigen::MatrixXd::Ones(2, 2));
  REQUIRE(tape.gradient(unused) == Eigen::MatrixXd::Zero(2, 3));
}

TEST_CASE("only results of variable() have a gradient after the backward", "[autograd]") {
  ef::Tape<double> tape;
  const ef::Context<double> context{.tape = &tape};
  const ef::Parameter<double> parameter(Eigen::MatrixXd::Constant(1, 1, 3));
  const Variable x = tape.variable(Eigen::MatrixXd::Constant(1, 1, 2)), used = context.use(parameter);
  const Variable y = ef::multiply(context, x, used), constant = Eigen::MatrixXd::Ones(1, 1);
  tape.backward(ef::multiply(context, y, y));
  const char* refusal =
      "Tape::gradient: the variable is not a result of variable(); for a parameter, write gradient(parameter)";
  CHECK_THROWS_WITH(tape.gradient(y), refusal);
  CHECK_THROWS_WITH(tape.gradient_tensor(y), refusal);
  CHECK_THROWS_WITH(tape.gradient(used), refusal);
  CHECK_THROWS_WITH(tape.gradient(constant), "Tape::gradient: the variable is not of this recording");
  CHECK(tape.gradient(x)(0, 0) == 2 * 2 * 3 * 3);
  CHECK(tape.gradient(parameter)(0, 0) == 2 * 2 * 2 * 3);
}

TEST_CASE("constants are not recorded", "[autograd]") {
  ef::Tape<double> tape;
  const ef::Context<double> context{.tape = &tape};
  const Variable constant = Eigen::MatrixXd::Ones(1, 1);
  const Variable y = ef::scale(context, constant, 2);
  REQUIRE(!y.requires_grad());
  REQUIRE_THROWS_AS(tape.backward(y), ef::Error);
  // Not the shape, but the missing tape is what is wrong.
  CHECK_THROWS_WITH(tape.backward(ef::scale(ef::Context<double>{}, Variable(Eigen::MatrixXd::Ones(2, 1)), 2)),
                    "Tape::backward: nothing of the loss was recorded, expected a loss that depends on a variable or "
                    "parameter of this tape, computed with this tape in the context");
  REQUIRE_THROWS_AS(tape.backward(tape.variable(Eigen::MatrixXd::Ones(2, 1))), ef::Error);
}

TEST_CASE("a variable of another tape, or of an earlier recording, is refused", "[autograd]") {
  ef::Tape<double> tape, other;
  const ef::Context<double> context{.tape = &tape};
  const Variable x = tape.variable(Eigen::MatrixXd::Ones(1, 1));
  REQUIRE_THROWS_AS(ef::scale(ef::Context<double>{.tape = &other}, x, 2), ef::Error);
  tape.backward(ef::scale(context, x, 2));
  REQUIRE_THROWS_AS(ef::scale(context, x, 2), ef::Error);
  tape.variable(Eigen::MatrixXd::Ones(1, 1));  // begins the next recording
  REQUIRE_THROWS_AS(tape.gradient(x), ef::Error);
}

TEST_CASE("a variable of a destroyed tape is refused by the next tape in the same place", "[autograd]") {
  std::optional<ef::Tape<double>> tape;  // always at one address, as a tape in the body of a loop usually is
  Variable kept = Eigen::MatrixXd::Ones(1, 1);
  for (int pass = 0; pass < 3; ++pass) {
    CAPTURE(pass);
    tape.emplace();
    const ef::Context<double> context{.tape = &*tape};
    const Variable x = tape->variable(Eigen::MatrixXd::Constant(1, 1, 10.0 + pass));
    const std::string error =
        " is of another tape or of an earlier recording, expected one of this recording; compute it again after "
        "backward() or clear()";
    if (pass > 0) {
      CHECK_THROWS_WITH(ef::multiply(context, kept, x), "Tape: an input" + error);
      CHECK_THROWS_WITH(tape->backward(kept), "Tape::backward: the loss" + error);
      CHECK_THROWS_AS(tape->gradient(kept), ef::Error);
    }
    const Variable constant = kept.value();  // without its history
    tape->backward(ef::multiply(context, constant, x));
    CHECK(tape->gradient(x)(0, 0) == constant.scalar());
    kept = x;
  }
}

TEST_CASE("steps of changing shape stop allocating once the largest has been seen", "[autograd]") {
  const std::uint64_t seed = 5;
  CAPTURE(seed);
  ef::Rng rng(seed);
  ef::Tape<double> tape;
  const ef::Context<double> context{.tape = &tape};
  const ef::Parameter<double> weight(ef::testing::random_matrix<double>(16, 16, rng));
  const auto step = [&](ef::Index tokens) {
    Variable x = ef::testing::random_matrix<double>(tokens, 16, rng);
    for (int layer = 0; layer < 4; ++layer) x = ef::add(context, x, ef::linear(context, x, context.use(weight)));
    tape.backward(ef::sum(context, x));
  };
  step(200);
  step(200);
  const std::size_t allocations = tape.workspace().system_allocations();
  for (int i = 0; i < 50; ++i) step(1 + rng.randint(200));
  REQUIRE(tape.workspace().system_allocations() == allocations);
}

TEST_CASE("steps that begin with an input take no more memory than those that begin with a parameter", "[autograd]") {
  const std::uint64_t seed = 8;
  CAPTURE(seed);
  const auto capacity = [&](bool begins_with_parameter, bool as_tensor) {
    ef::Rng rng(seed);
    ef::Tape<double> tape;
    const ef::Context<double> context{.tape = &tape};
    const ef::Parameter<double> parameter(1, 1);
    for (int step = 0; step < 100; ++step) {
      if (begins_with_parameter) context.use(parameter);
      const ef::Index rows = step == 0 ? 300 : 1 + rng.randint(300), cols = step == 0 ? 7 : 7 + rng.randint(3);
      const ef::Matrix<double> x0 = ef::Matrix<double>::Ones(rows, cols);
      const Variable x = as_tensor ? tape.variable(ef::Tensor<double>(x0)) : tape.variable(x0);
      Variable y = x;
      for (int layer = 0; layer < 6; ++layer) y = ef::multiply(context, y, x);
      tape.backward(ef::sum(context, y));
    }
    return tape.workspace().capacity();
  };
  for (const bool as_tensor : {false, true}) CHECK(capacity(false, as_tensor) == capacity(true, as_tensor));
}

TEST_CASE("memory that cannot be had is an error, and the tape serves on", "[autograd]") {
  if (!ef::testing::can_count_allocations()) {
    WARN("the heap cannot be made to fail in this build");
    return;
  }
  ef::Rng rng(6);
  const ef::Parameter<double> weight(ef::testing::random_matrix<double>(8, 8, rng));
  const Eigen::MatrixXd x0 = ef::testing::random_matrix<double>(20, 8, rng);
  const auto step = [&](ef::Tape<double>& tape) {
    const ef::Context<double> context{.tape = &tape};
    Variable x = tape.variable(x0);
    for (int layer = 0; layer < 3; ++layer) x = ef::add(context, x, ef::linear(context, x, context.use(weight)));
    tape.backward(ef::sum(context, x));
  };
  ef::Tape<double> undisturbed;
  step(undisturbed);
  const Eigen::MatrixXd expected = undisturbed.gradient(weight);
  for (std::size_t before = 0;; ++before) {
    ef::Tape<double> tape;
    bool threw = false, reached = false;
    {
      const ef::testing::FailingAllocation failing(before);
      try {
        step(tape);
      } catch (const std::bad_alloc&) {
        threw = true;
      }
      reached = failing.reached();
    }
    CAPTURE(before);
    REQUIRE(threw == reached);
    if (!reached) break;
    tape.gradients().clear();
    step(tape);
    REQUIRE(tape.gradient(weight) == expected);
  }
}

namespace {

/// Returns the message of the backward of a sum of x, [3 x 2], if an operation calls add(x, tape) in its backward.
template <class Add>
std::string message_of_backward(const Add& add) {
  ef::Tape<double> tape;
  const ef::Context<double> context{.tape = &tape};
  const Variable x = tape.variable(Eigen::MatrixXd::Ones(3, 2));
  const Variable y = tape.record(Variable(Eigen::MatrixXd::Ones(3, 2)), {x},
                                 [&, x](const Variable&, ef::Tape<double>& of_backward) { add(x, of_backward); });
  return ef::testing::message_of([&] { tape.backward(ef::sum(context, y)); });
}

}  // namespace

TEST_CASE("a gradient of another shape than its input is refused", "[autograd]") {
  const auto whole = [](ef::Index rows, ef::Index cols) {
    return message_of_backward([&](const Variable& x, ef::Tape<double>& tape) {
      tape.add_gradient(x, Variable(Eigen::MatrixXd::Ones(rows, cols)));
    });
  };
  CHECK(whole(3, 2) == "nothing was thrown");
  CHECK(whole(2, 3) == "Tape::add_gradient: the gradient is [2 x 3], expected [3 x 2], the shape of the input");
  CHECK(whole(1, 2) == "Tape::add_gradient: the gradient is [1 x 2], expected [3 x 2], the shape of the input");
  const auto rows = [](ef::Index first, ef::Index count, ef::Index cols) {
    return message_of_backward([&](const Variable& x, ef::Tape<double>& tape) {
      tape.add_row_gradient(x, first, Variable(Eigen::MatrixXd::Ones(count, cols)));
    });
  };
  const std::string end = " on, expected rows of [3 x 2], the shape of the input";
  CHECK(rows(1, 2, 2) == "nothing was thrown");
  CHECK(rows(2, 2, 2) == "Tape::add_row_gradient: the gradient is [2 x 2] from row 2" + end);
  CHECK(rows(-1, 2, 2) == "Tape::add_row_gradient: the gradient is [2 x 2] from row -1" + end);
  CHECK(rows(0, 3, 1) == "Tape::add_row_gradient: the gradient is [3 x 1] from row 0" + end);
}

TEST_CASE("gradients of rows are not written into a view's memory", "[autograd]") {
  const ef::Matrix<double> seen = ef::Matrix<double>::Constant(3, 2, 5);
  CHECK(message_of_backward([&](const Variable& x, ef::Tape<double>& tape) {
          tape.add_gradient(x, Variable::view(seen));
          tape.add_row_gradient(x, 1, Variable(Eigen::MatrixXd::Ones(1, 2)));
        }) == "nothing was thrown");
  CHECK(seen == ef::Matrix<double>::Constant(3, 2, 5));
}

TEST_CASE("clear ends a recording without a backward", "[autograd]") {
  ef::Tape<double> tape;
  const ef::Context<double> context{.tape = &tape};
  ef::Parameter<double> p(Eigen::MatrixXd::Constant(1, 1, 3));
  tape.clear();  // nothing is recorded
  const auto loss = [&] { return ef::multiply(context, context.use(p), context.use(p)); };
  tape.backward(loss());
  const Variable before = loss();
  tape.clear();
  CHECK(tape.gradient(p)(0, 0) == 6);
  CHECK_THROWS_AS(tape.backward(before), ef::Error);
  CHECK_THROWS_AS(ef::scale(context, before, 2), ef::Error);
  p.value = Eigen::MatrixXd::Constant(1, 1, 5).eval();
  tape.backward(loss());
  CHECK(tape.gradient(p)(0, 0) == 6 + 10);
}

TEST_CASE("losses without a backward take no more memory if each is cleared", "[autograd]") {
  ef::Tape<double> tape;
  const ef::Context<double> context{.tape = &tape};
  const ef::Parameter<double> p(ef::Matrix<double>(Eigen::MatrixXd::Ones(50, 50)));
  std::size_t capacity = 0;
  for (int step = 0; step < 20; ++step) {
    ef::sum(context, ef::multiply(context, context.use(p), context.use(p)));
    tape.clear();
    if (step == 0) capacity = tape.workspace().capacity();
  }
  CHECK(tape.workspace().capacity() == capacity);
}

TEST_CASE("a parameter that was replaced during a recording is refused until the recording ends", "[autograd]") {
  ef::Tape<double> tape;
  const ef::Context<double> context{.tape = &tape};
  ef::Parameter<double> p(Eigen::MatrixXd::Constant(1, 1, 3));
  ef::Matrix<double> other = Eigen::MatrixXd::Constant(1, 1, 5), wide = Eigen::MatrixXd::Ones(1, 2);
  const std::string end =
      ", expected [1 x 1] in the memory of its first use; call backward() or clear() before "
      "parameters change";
  context.use(p);
  p.value.swap(other);  // as load_parameters does
  CHECK(ef::testing::message_of([&] { context.use(p); }) ==
        "Tape: a parameter was replaced during the recording: it is [1 x 1]" + end);
  p.value = wide;
  CHECK(ef::testing::message_of([&] { context.use(p); }) ==
        "Tape: a parameter was replaced during the recording: it is [1 x 2]" + end);
  tape.clear();
  CHECK(context.use(p).value() == wide);
  // The backward refuses it too, even if it was not used again.
  const ef::Variable<double> loss = ef::sum(context, context.use(p));
  p.value = Eigen::MatrixXd::Ones(1, 3);
  CHECK(ef::testing::message_of([&] {
          tape.backward(loss);
        }).starts_with("Tape: a parameter was replaced during the recording: it is [1 x 3], expected [1 x 2]"));
}
