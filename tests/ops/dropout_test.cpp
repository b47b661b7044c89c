#include "eigenformer/ops/dropout.hpp"

#include "support/ops.hpp"

namespace ef = eigenformer;

TEST_CASE("dropout is off without a generator, and its gradient has the same mask as its value", "[ops]") {
  const ef::Variable<double> ones = Eigen::MatrixXd::Ones(40, 50);
  const ef::Variable<double> kept = ef::dropout(ef::Context<double>{}, ones, 0.5);
  CHECK(kept.value().data() == ones.value().data());

  ef::Rng rng(3);
  ef::Tape<double> tape;
  const ef::Context<double> context{.tape = &tape, .rng = &rng};
  const ef::Variable<double> x = tape.variable(ones.value());
  const ef::Variable<double> y = ef::dropout(context, x, 0.25);
  const ef::Variable<double> z = ef::dropout(context, x, 0.25);
  const ef::Matrix<double> dropped = y.value();
  CHECK(dropped != z.value());  // every call draws anew
  CHECK(std::abs((dropped.array() == 0).cast<double>().mean() - 0.25) < 0.04);
  tape.backward(ef::sum(context, y));
  CHECK(tape.gradient(x) == dropped);
  CHECK_THROWS_AS(ef::dropout(context, ones, 1.0), ef::Error);
}
