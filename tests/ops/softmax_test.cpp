#include "eigenformer/ops/softmax.hpp"

#include "support/ops.hpp"

namespace ef = eigenformer;
using Context = ef::Context<double>;
using Inputs = std::vector<ef::Variable<double>>;

TEST_CASE("gradients of softmax and log-softmax", "[ops]") {
  const std::uint64_t seed = 13;
  CAPTURE(seed);
  ef::Rng rng(seed);
  const auto x = ef::testing::random_matrix<double>(4, 9, rng);
  ef::testing::check_op({x}, [](const Context& c, const Inputs& in) { return ef::softmax(c, in[0]); });
  ef::testing::check_op({x}, [](const Context& c, const Inputs& in) { return ef::log_softmax(c, in[0]); });
  const Context none{};
  const ef::Matrix<double> y = ef::softmax(none, ef::Variable<double>(x)).value();
  CHECK((y.rowwise().sum().array() - 1).abs().maxCoeff() < 1e-14);
  CHECK(ef::log_softmax(none, ef::Variable<double>(x)).value().isApprox(y.array().log().matrix(), 1e-12));
}
