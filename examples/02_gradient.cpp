// Differentiates attention with respect to the query, checks the gradient, and uses it for gradient descent.
#include <eigenformer/autograd/gradient_check.hpp>
#include <eigenformer/ops/arithmetic.hpp>
#include <eigenformer/ops/attention.hpp>
#include <iostream>

namespace ef = eigenformer;

int main() {
  ef::Rng rng(1);
  const auto random = [&](ef::Index rows, ef::Index cols) {
    return ef::Matrix<double>(ef::Matrix<double>::NullaryExpr(rows, cols, [&] { return rng.normal(); }));
  };
  const ef::Matrix<double> keys = random(6, 4);
  const ef::Matrix<double> values = random(6, 3);
  ef::Matrix<double> query = random(1, 4);
  const ef::Matrix<double> wanted = values.row(2);

  // The squared distance between the result of attention and the wanted value. <double> is written out so that matrices
  // can be arguments: they become constants.
  const auto loss = [&](const ef::Context<double>& context, const ef::Variable<double>& q) {
    const ef::Variable<double> found = ef::attention<double>(context, q, keys, values);
    const ef::Variable<double> error = ef::subtract<double>(context, found, wanted);
    return ef::sum(context, ef::multiply(context, error, error));
  };

  const ef::GradientCheckResult check = ef::gradient_check(
      {query}, [&](const ef::Context<double>& context, const std::vector<ef::Variable<double>>& inputs) {
        return loss(context, inputs[0]);
      });
  std::cout << "largest error against central differences: " << check.max_error << '\n';

  ef::Tape<double> tape;
  double distance = 0;
  for (int step = 0; step <= 2000; ++step) {
    const ef::Variable<double> q = tape.variable(query);
    const ef::Variable<double> error = loss({.tape = &tape}, q);
    tape.backward(error);
    query -= 0.5 * tape.gradient(q);
    distance = error.scalar();
    if (step % 500 == 0) std::cout << "step " << step << ": squared distance " << distance << '\n';
  }
  return check.max_error < 1e-6 && distance < 0.01 && std::cout.flush() ? 0 : 1;
}
